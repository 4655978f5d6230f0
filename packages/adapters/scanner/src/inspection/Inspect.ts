// One file, looked into. Whatever its bytes make our own code stumble over is told as damage of the file: an error that left here would
// count against this machine, and one file could stop all others.
import { stat } from "node:fs/promises"
import { Budget, type BudgetLimits } from "./Budget.ts"
import { beyond, type Finding, Found } from "./Findings.ts"
import { walk } from "./Walk.ts"

export interface InspectionJob {
  readonly path: string
  /** For what lies inside, while it is looked into. */
  readonly folder: string
  readonly limits: BudgetLimits
}

/** Null when there is nothing to say. */
export const inspect = async ({ folder, limits, path }: InspectionJob): Promise<Finding | null> => {
  const budget = new Budget(limits, (await stat(path)).size)
  try {
    await walk(path, budget, folder)
  } catch (error) {
    const finding = findingOf(error)
    return finding.outcome === "bad" ? finding : (budget.opaque ?? finding)
  }
  return budget.opaque
}

const findingOf = (error: unknown): Finding => {
  if (error instanceof Found) return error.finding
  if (isOfThisMachine(error)) throw error
  // Told to the kernel as a limit, and by it as this error where it does not end the process.
  if (codeOf(error) === "EFBIG") return beyond("something inside is larger than may be written").finding
  return { outcome: "bad", reason: "malformed", detail: "content that cannot be read" }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : ""

/** The disk is full, or not to be read: another try may go well. */
const isOfThisMachine = (error: unknown): boolean =>
  /^E[A-Z0-9]+$/.test(codeOf(error)) && !/^(EFBIG|EINVAL)$/.test(codeOf(error))
