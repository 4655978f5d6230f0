// What a program in the sandbox can do, and cannot.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { ByteSize, Duration, Effect } from "effect"
import { confinement, runConfined, type SandboxJob } from "../src/Sandbox.ts"

const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-sandbox-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

const limits = {
  deadline: Duration.seconds(20),
  cpuSecondsMax: 10,
  dataBytesMax: ByteSize.mebibytes(512),
  fileBytesMax: ByteSize.mebibytes(1)
}

const shell = (script: string, more: Partial<SandboxJob> = {}) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const command = ["/bin/sh", "-c", script] as const
    const ended = yield* runConfined({ command, folder, limits, dependency: "converter", ...more })
    return { ...ended, folder }
  })

describe("the sandbox", () => {
  it.live("runs a program, and gives back what it says and how it ends", () =>
    Effect.gen(function* () {
      expect(yield* shell("echo hello; exit 3")).toMatchObject({ output: "hello\n", code: 3, wasKilled: false })
    }).pipe(Effect.scoped)
  )

  it.live("shows nothing of this process's environment", () =>
    Effect.gen(function* () {
      process.env.HOLDFAST_SECRET_OF_A_TEST = "secret"
      const { output } = yield* shell("env", { environment: { LANG: "C.UTF-8" } })
      delete process.env.HOLDFAST_SECRET_OF_A_TEST
      const names = output.split("\n").map((line) => line.split("=")[0])
      expect(names.filter((name) => !["LANG", "PWD", "OLDPWD", "SHLVL", "_", ""].includes(name ?? ""))).toEqual([])
    }).pipe(Effect.scoped)
  )

  it.live("has one folder to write to", () =>
    Effect.gen(function* () {
      const { folder } = yield* shell("echo made > made")
      expect(yield* Effect.promise(() => readFile(join(folder, "made"), "utf8"))).toBe("made\n")
    }).pipe(Effect.scoped)
  )

  it.live("keeps each file below its limit", () =>
    Effect.gen(function* () {
      const { code, folder } = yield* shell("dd if=/dev/zero of=large bs=65536 count=64 2>/dev/null")
      expect(code).not.toBe(0)
      expect((yield* Effect.promise(() => readFile(join(folder, "large")))).length).toBeLessThanOrEqual(1 << 20)
    }).pipe(Effect.scoped)
  )

  it.live("ends what takes too long, with everything it started", () =>
    Effect.gen(function* () {
      const short = { ...limits, deadline: Duration.millis(300) }
      const ended = yield* shell("sleep 1000 & sleep 1000", { limits: short })
      expect(ended).toMatchObject({ wasKilled: true, ranOutOfTime: true })
    }).pipe(Effect.scoped)
  )

  it.live("ends what uses up its processor time", () =>
    Effect.gen(function* () {
      const ended = yield* shell("while :; do :; done", { limits: { ...limits, cpuSecondsMax: 1 } })
      expect(ended).toMatchObject({ wasKilled: true, ranOutOfTime: false })
    }).pipe(Effect.scoped)
  )

  it.live("ends what talks without end", () =>
    Effect.gen(function* () {
      expect(yield* shell("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxx; done")).toMatchObject({ wasKilled: true })
    }).pipe(Effect.scoped)
  )

  it.live("says when a program is not there", () =>
    Effect.gen(function* () {
      const ended = yield* shell("", { command: ["/nowhere/program"] })
      expect(ended).toMatchObject({ code: 127, wasKilled: false })
    }).pipe(Effect.scoped)
  )

  it.live(
    "has no network where it can do without, and sees no file but the system's and its own under bubblewrap",
    () =>
      Effect.gen(function* () {
        const outside = yield* temporaryFolder
        const secret = join(outside, "secret")
        yield* Effect.promise(() => writeFile(secret, "secret"))
        const { output } = yield* shell(`tail -n +3 /proc/net/dev | cut -d: -f1; cat ${secret} 2>/dev/null`)
        const [interfaces, files] = [output.match(/\w+(?=\n)/g) ?? [], output.includes("secret")]
        const how = yield* confinement
        if (how !== "rlimits") expect(interfaces).toEqual(["lo"])
        expect(files).toBe(how !== "bubblewrap")
      }).pipe(Effect.scoped)
  )

  it.live("lets a file in that it is told of", () =>
    Effect.gen(function* () {
      const outside = yield* temporaryFolder
      const given = join(outside, "given")
      yield* Effect.promise(() => writeFile(given, "given"))
      expect(yield* shell(`cat ${given}`, { readable: [given] })).toMatchObject({ output: "given" })
    }).pipe(Effect.scoped)
  )
})
