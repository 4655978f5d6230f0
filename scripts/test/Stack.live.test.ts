// The private servers themselves: each answers, can be killed, hung and restarted on its data, and ends with its host.
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it, onTestFinished } from "vitest"
import { isAlive } from "../src/ProcessMark.ts"
import { ServerProcess } from "../src/ServerProcess.ts"
import { startStack } from "../src/Stack.ts"
import { hostStack } from "../src/StackHost.ts"
import { endStack } from "../src/StackState.ts"

const newFolder = () => {
  const parent = mkdtempSync(join(tmpdir(), "holdfast-stack-test-"))
  onTestFinished(() => rmSync(parent, { recursive: true, force: true }))
  return join(parent, "servers")
}

it("a server can be killed and started again on its port and data", async () => {
  const stack = await startStack({ only: ["postgres"], folder: newFolder() })
  try {
    const postgres = stack.servers.get("postgres")
    if (postgres === undefined) throw new Error("the stack holds the server it was asked for")
    const first = postgres.pid
    await postgres.kill()
    expect(postgres.running).toBe(false)
    await postgres.start()
    expect(postgres.pid).not.toBe(first)
    expect(stack.environment.HOLDFAST_TEST_DATABASE_URL).toContain(String(postgres.plan.port))
  } finally {
    await stack.stop()
  }
  expect(existsSync(stack.folder)).toBe(false)
})

it("a server that cannot start says why with the end of its log", async () => {
  const broken = new ServerProcess({
    name: "broken",
    port: 1,
    url: "tcp://127.0.0.1:1",
    folder: newFolder(),
    prepare: async () => {},
    command: ["/bin/sh", "-c", "echo no such setting; exit 1"],
    environment: {},
    user: undefined,
    greeting: { send: Buffer.from("x"), expect: Buffer.from("x") },
    stopSignal: "SIGTERM"
  })
  await expect(broken.start()).rejects.toThrow(/broken ended while starting.*no such setting/s)
})

it("the servers of a killed host end with it, and the next host clears what it left", async () => {
  const folder = newFolder()
  const { state } = await hostStack({ folder, only: ["redis"], detached: true })
  const [redis] = state.servers
  if (redis === undefined) throw new Error("the state names the server")
  await expect(hostStack({ folder, only: ["redis"], detached: true })).rejects.toThrow(/already running/)
  process.kill(state.host.pid, "SIGKILL")
  await expect.poll(() => isAlive(redis), { timeout: 10_000 }).toBe(false)
  const next = await hostStack({ folder, only: ["redis"], detached: true })
  expect(next.state.host.pid).not.toBe(state.host.pid)
  await endStack(folder)
  expect(existsSync(folder)).toBe(false)
})
