// A process is found by the mark it inherited, whatever became of its parent and group.
import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { describe, expect, it } from "vitest"
import { endLeftovers, findLeftovers, runMarkVariable } from "../src/Leftovers.ts"

describe.runIf(process.platform === "linux")("a leftover process", () => {
  it("is found by its mark and ended", async () => {
    const mark = randomUUID()
    expect(findLeftovers(mark)).toEqual([])
    const child = spawn("sleep", ["600"], { detached: true, env: { ...process.env, [runMarkVariable]: mark } })
    await once(child, "spawn")
    const found = findLeftovers(mark)
    expect(found.map(({ pid }) => pid)).toEqual([child.pid])
    endLeftovers(found)
    const [, signal]: ReadonlyArray<unknown> = await once(child, "exit")
    expect(signal).toBe("SIGKILL")
    expect(findLeftovers(mark)).toEqual([])
  })
})
