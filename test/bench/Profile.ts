// Where the time of a process goes, from what `node --cpu-prof` wrote: self time by part of the program, idle time left out.
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Schema } from "effect"

const CpuProfile = Schema.fromJsonString(
  Schema.Struct({
    nodes: Schema.Array(
      Schema.Struct({
        id: Schema.Finite,
        callFrame: Schema.Struct({ functionName: Schema.String, url: Schema.String })
      })
    ),
    samples: Schema.Array(Schema.Finite),
    timeDeltas: Schema.Array(Schema.Finite)
  })
)

export interface Part {
  readonly name: string
  /** Of the time that the process was busy: 0 to 1. */
  readonly share: number
}

/** The first match names the part. */
export type Naming = ReadonlyArray<readonly [name: string, pattern: RegExp]>

export const profileParts = (folder: string, naming: Naming): ReadonlyArray<Part> => {
  const microseconds = new Map<string, number>()
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".cpuprofile"))) {
    const profile = Schema.decodeSync(CpuProfile)(readFileSync(join(folder, file), "utf8"))
    const partOf = new Map(profile.nodes.map(({ callFrame, id }) => [id, nameOf(callFrame, naming)]))
    for (const [index, id] of profile.samples.entries()) {
      const name = partOf.get(id) ?? "other"
      microseconds.set(name, (microseconds.get(name) ?? 0) + (profile.timeDeltas[index] ?? 0))
    }
  }
  microseconds.delete("idle")
  const busy = [...microseconds.values()].reduce((sum, value) => sum + value, 0)
  return [...microseconds]
    .map(([name, value]) => ({ name, share: value / busy }))
    .sort((left, right) => right.share - left.share)
}

const nameOf = (
  { functionName, url }: { readonly functionName: string; readonly url: string },
  naming: Naming
): string => {
  if (functionName === "(idle)") return "idle"
  if (functionName === "(garbage collector)") return "garbage collection"
  if (functionName === "(program)") return "system calls and V8"
  return naming.find(([, pattern]) => pattern.test(url))?.[0] ?? (url === "" ? "V8 built-ins" : "other")
}
