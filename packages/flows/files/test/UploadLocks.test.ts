// Locks of uploads between gateways that share a disk: each locker here stands for a process of its own, and one is.
import { spawn } from "node:child_process"
import { randomUUIDv7 } from "node:crypto"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { readdir, utimes } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "vitest"
import { UploadLocks } from "../src/UploadLocks.ts"

const folder = mkdtempSync(join(tmpdir(), "holdfast-locks-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const never = new AbortController().signal
const nobody = () => undefined

it("is held by one gateway at a time, and who waits makes the other let go", async () => {
  const id = randomUUIDv7()
  const [here, there] = [new UploadLocks(folder).newLock(id), new UploadLocks(folder).newLock(id)]
  let asked = false
  await here.lock(never, () => {
    asked = true
    return here.unlock()
  })
  await there.lock(never, nobody)
  expect(asked).toBe(true)
  await there.unlock()
})

it("is held by one request at a time within a gateway", async () => {
  const id = randomUUIDv7()
  const locks = new UploadLocks(folder)
  const order: Array<string> = []
  const first = locks.newLock(id)
  await first.lock(never, () => {
    order.push("asked")
    return first.unlock()
  })
  await locks.newLock(id).lock(never, nobody)
  expect(order).toEqual(["asked"])
  await locks.newLock(id).unlock()
})

it("is given up by a request that is over", async () => {
  const id = randomUUIDv7()
  const holder = new UploadLocks(folder).newLock(id)
  await holder.lock(never, nobody)
  const over = AbortSignal.abort()
  await expect(new UploadLocks(folder).newLock(id).lock(over, nobody)).rejects.toMatchObject({
    problem: { status: 500 }
  })
  await holder.unlock()
})

it("is free once its holder was killed", async () => {
  const id = randomUUIDv7()
  const module = new URL("../src/UploadLocks.ts", import.meta.url).href
  const script = `const { UploadLocks } = await import(${JSON.stringify(module)})
    await new UploadLocks(${JSON.stringify(folder)}).newLock("${id}").lock(new AbortController().signal, () => undefined)
    console.log("held"); setInterval(() => undefined, 1000)`
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  await once(child.stdout, "data")
  const waiting = new UploadLocks(folder).newLock(id)
  const held = waiting.lock(never, nobody)
  child.kill("SIGKILL")
  await held
  await waiting.unlock()
})

it("makes no path of what is no upload", async () => {
  const strange = new UploadLocks(folder).newLock("../../etc")
  await expect(strange.lock(never, nobody)).rejects.toMatchObject({ problem: { status: 404 } })
})

it("forgets the locks of uploads that are long gone", async () => {
  const old = randomUUIDv7()
  const locks = new UploadLocks(folder)
  await locks.newLock(old).lock(never, nobody)
  await locks.newLock(old).unlock()
  await utimes(join(folder, old), 1, 1)
  await locks.sweep(10_000)
  expect(await readdir(folder)).not.toContain(old)
})
