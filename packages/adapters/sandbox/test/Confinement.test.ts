// Every confinement that this machine can do keeps what it says.
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { candidates, works } from "../src/Confinement.ts"

describe("a confinement that works", () => {
  it.each(candidates.map((shell) => [shell.confinement, shell] as const))("%s has no network", async (_, shell) => {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-confinement-"))
    try {
      const [program = "", ...args] = [...shell.prefix(folder, []), "/bin/cat", "/proc/net/dev"]
      const { status, stdout } = spawnSync(program, args, { encoding: "utf8", env: {} })
      const interfaces = [...(stdout ?? "").matchAll(/^ *(\w+):/gm)].map(([, name]) => name)
      // One that does not work here runs nothing at all.
      expect([status === 0, interfaces]).toEqual((await works(shell)) ? [true, ["lo"]] : [false, []])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
