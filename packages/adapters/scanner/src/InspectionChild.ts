// The child process that looks into one hostile file. It runs under the limits that InspectorProcess sets and may die at any point; its
// answer is one line of JSON. Only Node's own decoders run here.
import { type InspectionJob, inspect } from "./inspection/Inspect.ts"

const isJob = (value: unknown): value is InspectionJob => typeof value === "object" && value !== null && "path" in value

const job: unknown = JSON.parse(process.argv[2] ?? "null")
if (!isJob(job)) throw new Error("a job is needed")
const finding = await inspect(job)
process.stdout.write(`${JSON.stringify(finding ?? { outcome: "passed" })}\n`)
