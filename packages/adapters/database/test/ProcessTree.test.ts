// Which processes count as running. Linux keeps an ended one in its table until its parent asks; nobody asks in a container without an init.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { describe, expect, it, vi } from "@effect/vitest"
import { isRunning, processesBelow } from "../src/embedded/ProcessTree.ts"

describe("a process", () => {
  it("runs until it is gone, and an ended one that nobody has asked about does not", async () => {
    // The shell becomes a program that never asks about the child that it inherits.
    const parent = spawn("sh", ["-c", "sleep 0.2 & echo begun; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore"] })
    await once(parent.stdout, "data")
    const [child = 0] = processesBelow(parent.pid ?? 0)
    expect(isRunning(child)).toBe(true)
    await vi.waitUntil(() => !isRunning(child), { timeout: 180_000 })
    parent.kill("SIGKILL")
    await once(parent, "exit")
    expect(isRunning(parent.pid ?? 0)).toBe(false)
  })
})
