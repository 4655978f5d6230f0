// What the fault tests ask of the machine beyond Node: Linux, root, a few programs. A machine that lacks something is told in one sentence
// what it is; nothing is skipped and nothing is tried in its place.
import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"
import { Data, Effect } from "effect"

/** The machine does not allow, or does not have, what this means of failure needs. */
export class MeansMissing extends Data.TaggedError("MeansMissing")<{ readonly message: string }> {}

/** Debian keeps administrators' programs in folders that not everybody has on PATH. */
export const administratorsPath = `${process.env.PATH ?? ""}:/usr/local/sbin:/usr/sbin:/sbin`

const programDeadlineMs = 20_000

/** Fails unless this is Linux and we are root. */
export const requireRoot = (means: string): Effect.Effect<void, MeansMissing> =>
  process.platform === "linux" && process.getuid?.() === 0
    ? Effect.void
    : Effect.fail(new MeansMissing({ message: `${means} needs Linux and root: run the tests as root.` }))

/** What the program printed. That it is missing, or what it complained of, is told together with what it was for. */
export const runProgram = (
  means: string,
  program: string,
  args: ReadonlyArray<string>
): Effect.Effect<string, MeansMissing> =>
  Effect.callback((resume) => {
    const options = { env: { ...process.env, PATH: administratorsPath }, timeout: programDeadlineMs }
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) return resume(Effect.succeed(stdout))
      const why =
        "code" in error && error.code === "ENOENT"
          ? `the program "${program}", which is not installed`
          : `"${[program, ...args].join(" ")}", which failed: ${stderr.trim() || error.message}`
      resume(Effect.fail(new MeansMissing({ message: `${means} needs ${why}.` })))
    })
  })

let named = 0

/** A name that nobody else has, for something that does not end with its process. */
export const ownedName: Effect.Effect<string> = Effect.promise(
  async () => `holdfast-${process.pid}-${await startOf(process.pid)}-${named++}`
)

/** Whether the name is one of ours, of a process that is gone. An id alone is used again sooner or later; with its start it is not. */
export const isAbandoned = (name: string): Effect.Effect<boolean> =>
  Effect.promise(async () => {
    const [, pid, startedAt] = /^holdfast-(\d+)-(\d+)-\d+$/.exec(name) ?? []
    return pid !== undefined && (await startOf(Number(pid))) !== startedAt
  })

/** Empty when there is no such process. */
const startOf = async (pid: number): Promise<string> => {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "")
  return stat.split(") ").at(-1)?.split(" ")[19] ?? ""
}
