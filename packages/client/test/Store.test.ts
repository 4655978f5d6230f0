// The contract on all three stores, and what is the file's own: torn lines, damage, a log that does not grow for ever. Real browsers meet the
// IndexedDB store with the page; here it runs on an implementation of the same interface.
import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { IDBFactory } from "fake-indexeddb"
import { Outbox } from "../src/Limits.ts"
import { fileStore } from "../src/StoreFile.ts"
import { indexedDbStore } from "../src/StoreIndexedDb.ts"
import { makeMemory, memoryStore } from "../src/StoreMemory.ts"
import { storeContract } from "./StoreContract.ts"

const folders: Array<string> = []
const freshFolder = async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-outbox-"))
  folders.push(folder)
  return join(folder, "outbox")
}
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))))

storeContract("memory", async () => {
  const memory = makeMemory()
  return () => memoryStore(memory)
})

storeContract("a folder", async () => {
  const folder = await freshFolder()
  return () => fileStore(folder)
})

let databases = 0
storeContract("IndexedDB", async () => {
  const factory = new IDBFactory()
  const name = `outbox-${databases++}`
  return () => indexedDbStore(name, factory)
})

const written = async (count: number) => {
  const folder = await freshFolder()
  const store = fileStore(folder)
  await store.open()
  for (let made = 0; made < count; made++) await store.write([[`key-${made}`, `text ${made}`]])
  await store.close()
  return { folder, log: join(folder, "outbox.log") }
}

const keysIn = async (folder: string) => {
  const store = fileStore(folder)
  try {
    return [...(await store.open()).keys()]
  } finally {
    await store.close()
  }
}

describe("a store in a folder", () => {
  it("drops a last line that was torn anywhere, and no other", async () => {
    const { folder, log } = await written(3)
    const whole = await readFile(log)
    const lastLine = whole.lastIndexOf(0x0a, whole.length - 2) + 1
    for (let end = lastLine; end < whole.length; end += 7) {
      await writeFile(log, whole.subarray(0, end))
      expect(await keysIn(folder)).toEqual(["key-0", "key-1"])
      expect((await stat(log)).size).toBe(lastLine)
    }
  })

  it("drops what a crash left of several writes that had not been flushed", async () => {
    const { folder, log } = await written(2)
    await appendFile(log, `${"\0".repeat(100)}\nhalf a line`)
    expect(await keysIn(folder)).toEqual(["key-0", "key-1"])
  })

  it("goes on after a torn line as if it had never been", async () => {
    const { folder, log } = await written(1)
    await appendFile(log, "0000")
    const store = fileStore(folder)
    await store.open()
    await store.write([["key-1", "text"]])
    await store.close()
    expect(await keysIn(folder)).toEqual(["key-0", "key-1"])
  })

  it("does not open when a line in the middle is damaged, and changes nothing", async () => {
    const { folder, log } = await written(3)
    const content = (await readFile(log, "utf8")).replace("text 1", "text 7")
    await writeFile(log, content)
    await expect(keysIn(folder)).rejects.toMatchObject({ reason: "damaged" })
    expect(await readFile(log, "utf8")).toBe(content)
  })

  it("does not grow with what is done with", async () => {
    const { folder, log } = await written(1)
    const store = fileStore(folder)
    await store.open()
    const text = "x".repeat(64 * 1024)
    for (let made = 0; made < 60; made++) {
      await store.write([["large", text]])
      await store.write([["large", null]])
    }
    await store.close()
    expect((await stat(log)).size).toBeLessThan(Outbox.logWasteBytesMax + 4 * text.length)
    expect(await keysIn(folder)).toEqual(["key-0"])
  })
})
