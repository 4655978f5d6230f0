// The child process that looks into one hostile file. It runs under the limits that InspectorProcess sets and may die at any point; its
// answer is one line of JSON. Only Node's own decoders run here.
import { stat } from "node:fs/promises"
import { Budget, type BudgetLimits } from "./inspection/Budget.ts"
import { type Finding, Found } from "./inspection/Findings.ts"
import { walk } from "./inspection/Walk.ts"

interface Job {
  readonly path: string
  readonly folder: string
  readonly limits: BudgetLimits
}

const inspect = async ({ folder, limits, path }: Job): Promise<Finding | null> => {
  const budget = new Budget(limits, (await stat(path)).size)
  try {
    await walk(path, budget, folder)
  } catch (error) {
    if (error instanceof Found)
      return error.finding.outcome === "bad" ? error.finding : (budget.opaque ?? error.finding)
    throw error
  }
  return budget.opaque
}

const isJob = (value: unknown): value is Job => typeof value === "object" && value !== null && "path" in value

const job: unknown = JSON.parse(process.argv[2] ?? "null")
if (!isJob(job)) throw new Error("a job is needed")
const finding = await inspect(job)
process.stdout.write(`${JSON.stringify(finding ?? { outcome: "passed" })}\n`)
