// Children read what was compiled before them, and can leave nothing there.
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises"
import { enableCompileCache, getCompileCacheDir } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { expect, it } from "@effect/vitest"
import { ByteSize, Duration, Effect, Schedule } from "effect"
import { compiledCode, none } from "../src/CompiledCode.ts"
import { confinement, runConfined } from "../src/Sandbox.ts"

const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-compiled-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

const limits = {
  deadline: Duration.seconds(20),
  cpuSecondsMax: 10,
  dataBytesMax: ByteSize.gibibytes(1),
  fileBytesMax: ByteSize.mebibytes(1)
}

it.live("a child under bubblewrap is given what was compiled, and cannot add to it; any other is given nothing", () =>
  Effect.gen(function* () {
    const [source, folder] = [yield* temporaryFolder, yield* temporaryFolder]
    const entry = join(source, "child.ts")
    yield* Effect.promise(() =>
      writeFile(
        entry,
        "const answer: number = 42\nif (process.argv[2] === 'null') throw new Error('no job')\nconsole.log(answer)\n"
      )
    )
    if (getCompileCacheDir() === undefined) enableCompileCache(join(yield* temporaryFolder, "cache"))
    if ((yield* confinement) !== "bubblewrap") return expect(yield* compiledCode(entry)).toBe(none)
    const { environment, readable } = yield* Effect.repeat(compiledCode(entry), {
      until: (code) => code !== none,
      schedule: Schedule.spaced("20 millis")
    })
    const cache = dirname(getCompileCacheDir() ?? "")
    expect(environment).toEqual({ NODE_COMPILE_CACHE: cache })
    expect(yield* Effect.promise(() => readdir(cache))).not.toEqual([])
    const script = `node='${process.execPath}'; "$node" '${entry}'; touch "$NODE_COMPILE_CACHE/left" 2>/dev/null || echo kept out`
    const ended = yield* runConfined({
      command: ["/bin/sh", "-c", script],
      ...{ folder, environment, limits, dependency: "converter" as const },
      readable: [...readable, source]
    })
    expect(ended.output).toBe("42\nkept out\n")
    expect(yield* Effect.promise(() => readdir(cache))).not.toContain("left")
  }).pipe(Effect.scoped)
)
