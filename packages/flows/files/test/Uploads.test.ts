// What is kept of an upload and what is not: bytes with a checksum that is right, wrong, or never came to its end; crashes between any two
// steps; another gateway on the same disk; and uploads that are made of parts.
import { randomBytes, randomUUIDv7 } from "node:crypto"
import { readFileSync, truncateSync, utimesSync, writeFileSync } from "node:fs"
import { appendFile } from "node:fs/promises"
import { join } from "node:path"
import { Readable } from "node:stream"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { FileId, PrincipalId } from "@holdfast/contracts/Ids"
import { eventually } from "@holdfast/testkit/Signals"
import { Effect, Schema } from "effect"
import { idOfWhole } from "../src/Concatenation.ts"
import { UploadStore } from "../src/UploadStore.ts"
import {
  appendOf,
  checksumOf,
  described,
  type Gateway,
  mebibyte,
  sha256Of,
  UploadWorld,
  unending,
  wholeOf
} from "./UploadWorld.ts"

const world = new UploadWorld()
afterAll(() => world.end())
const gateway = await world.gateway()

const quarantined = (bytes: Buffer) => world.names("quarantine").includes(sha256Of(bytes))
const kept = (id: string) => readFileSync(join(world.uploads, id))
const until = (what: string, isSo: () => boolean) =>
  Effect.runPromise(eventually(what, Effect.sync(isSo), (yes) => yes))
const wrong = checksumOf(Buffer.from("something else"))
const refusal = (status: number) => ({ problem: { status } })

describe("bytes with a checksum", () => {
  it.each([
    ["fewer than a batch", 1000],
    ["exactly a batch", mebibyte / 2],
    ["several batches", 3 * mebibyte + 1]
  ])("that is right count: %s", async (_, sizeBytes) => {
    const bytes = randomBytes(sizeBytes)
    const id = await gateway.create(sizeBytes)
    const middle = Math.floor(sizeBytes / 2)
    const first = bytes.subarray(0, middle)
    expect(await gateway.append(id, 0, first, checksumOf(first))).toMatchObject({ offset: middle })
    const last = bytes.subarray(middle)
    await gateway.append(id, middle, last, checksumOf(last, "sha256"))
    expect(quarantined(bytes)).toBe(true)
    expect(world.names("uploads").filter((name) => name.includes(id))).toEqual([`${id}.done`, `${id}.json`])
  })

  it.each([
    ["fewer than a batch", 1000],
    ["several batches", 3 * mebibyte + 1]
  ])("that is wrong are gone, and the offset is as before: %s", async (_, sizeBytes) => {
    const bytes = randomBytes(sizeBytes + 1000)
    const id = await gateway.create(bytes.length)
    await gateway.append(id, 0, bytes.subarray(0, 1000))
    await expect(gateway.append(id, 1000, bytes.subarray(1000), wrong)).rejects.toMatchObject(refusal(460))
    expect(await gateway.offset(id)).toBe(1000)
    expect(kept(id).equals(bytes.subarray(0, 1000))).toBe(true)
    await gateway.append(id, 1000, bytes.subarray(1000), checksumOf(bytes.subarray(1000)))
    expect(quarantined(bytes)).toBe(true)
  })

  it("that break off are gone; without one they are kept", async () => {
    const bytes = randomBytes(2 * mebibyte)
    const id = await gateway.create(bytes.length + 1)
    for (const [checksum, expected] of [
      [checksumOf(bytes), 0],
      [null, bytes.length]
    ] as const) {
      const body = unending(bytes)
      const sent = gateway.ask(appendOf(id, 0, bytes.length + 1, checksum), body)
      await until("a batch is written", () => kept(id).length > 0)
      body.destroy()
      await expect(sent).rejects.toMatchObject(refusal(409))
      expect(await gateway.offset(id)).toBe(expected)
    }
  })

  it("are not believed by another gateway before they are verified, though all are there", async () => {
    const bytes = randomBytes(mebibyte)
    const id = await gateway.create(bytes.length)
    const body = unending(bytes)
    const sent = gateway.ask(appendOf(id, 0, bytes.length, wrong), body)
    await until("all is written", () => kept(id).length === bytes.length)
    await (await world.gateway()).sweep()
    expect(quarantined(bytes)).toBe(false)
    body.push(null)
    await expect(sent).rejects.toMatchObject(refusal(460))
    expect(await gateway.offset(id)).toBe(0)
  })

  it("that a crash left unverified are gone, and those before them are not", async () => {
    const bytes = randomBytes(1000)
    const id = await gateway.create(bytes.length)
    await gateway.append(id, 0, bytes.subarray(0, 400))
    writeFileSync(join(world.uploads, `${id}.unverified`), "400")
    await appendFile(join(world.uploads, id), randomBytes(600))
    const next = await world.gateway()
    await next.sweep()
    expect(await next.offset(id)).toBe(400)
    await next.append(id, 400, bytes.subarray(400))
    expect(quarantined(bytes)).toBe(true)
  })

  it("of which there are none are verified as well", async () => {
    const id = await gateway.create(10)
    const nothing = Buffer.alloc(0)
    expect(await gateway.append(id, 0, nothing, checksumOf(nothing))).toMatchObject({ offset: 0 })
    await expect(gateway.append(id, 0, nothing, wrong)).rejects.toMatchObject(refusal(460))
  })

  it("that come with the creation of their upload decide whether there is one", async () => {
    const before = world.names("uploads").length
    const request = { type: "Create", sizeBytes: 10, isPart: false, ...described() } as const
    const body = () => Readable.from([Buffer.from("01234")])
    const content = { sizeBytes: 5, checksum: wrong }
    await expect(gateway.ask({ ...request, content }, body())).rejects.toMatchObject(refusal(460))
    expect(world.names("uploads")).toHaveLength(before)
    const right = { sizeBytes: 5, checksum: checksumOf(Buffer.from("01234")) }
    expect(await gateway.ask({ ...request, content: right }, body())).toMatchObject({ offset: 5 })
  })
})

describe("an upload", () => {
  it("takes nothing of a request that has more than is left, also when only its end tells", async () => {
    const bytes = randomBytes(2 * mebibyte)
    const id = await gateway.create(bytes.length)
    await gateway.append(id, 0, bytes.subarray(0, mebibyte))
    const tooMuch = appendOf(id, mebibyte, null)
    await expect(gateway.ask(tooMuch, Readable.from([bytes, bytes]))).rejects.toMatchObject(refusal(413))
    expect(await gateway.offset(id)).toBe(mebibyte)
    await gateway.ask(tooMuch, Readable.from([bytes.subarray(mebibyte)]))
    expect(quarantined(bytes)).toBe(true)
    await expect(gateway.append(id, bytes.length, Buffer.from("x"))).rejects.toMatchObject(refusal(413))
  })

  it("that comes in pieces of any size is what was sent", async () => {
    const bytes = randomBytes(2 * mebibyte)
    const sizes = [1, 4095, 4096, 4097, 70_000, 1, 1, 65_536, 3]
    const pieces: Array<Buffer> = []
    for (let at = 0, turn = 0; at < bytes.length; turn++) {
      const size = at < mebibyte / 8 ? 1 : (sizes[turn % sizes.length] ?? 1)
      pieces.push(bytes.subarray(at, at + size))
      at += size
    }
    const id = await gateway.create(bytes.length)
    await gateway.ask(appendOf(id, 0, bytes.length, checksumOf(bytes)), Readable.from(pieces, { objectMode: false }))
    expect(quarantined(bytes)).toBe(true)
    expect(kept(`${id}.done`).equals(bytes)).toBe(true)
  })

  it("that was begun with the release before is continued", async () => {
    const bytes = randomBytes(1000)
    const id = FileId.make(randomUUIDv7())
    const metadata = { filename: "old.txt", filetype: "text/plain", ownerId: "ada", correlationId: id }
    const record = { id, size: bytes.length, metadata, creation_date: new Date().toISOString() }
    writeFileSync(join(world.uploads, `${id}.json`), JSON.stringify(record))
    writeFileSync(join(world.uploads, id), bytes.subarray(0, 400))
    expect(await gateway.ask({ type: "Look", id })).toMatchObject({ offset: 400, sizeBytes: 1000, declared: null })
    await gateway.append(id, 400, bytes.subarray(400))
    expect(world.journal().find(({ file }) => file.fileId === id)).toMatchObject({
      file: { name: "old.txt", sha256: sha256Of(bytes) }
    })
  })

  it("lets every byte pass its owner's share before it is kept", async () => {
    const store = new UploadStore({ folder: world.uploads, onRemoved: () => {} })
    const bytes = randomBytes(2 * mebibyte + 100)
    const record = {
      id: FileId.make(randomUUIDv7()),
      size: bytes.length,
      metadata: {},
      creation_date: new Date().toISOString(),
      part: { ownerId: PrincipalId.make("ada") }
    }
    await store.create(record)
    const passed: Array<number> = []
    const pass = async (sizeBytes: number) => void passed.push(sizeBytes)
    const { signal: stop } = new AbortController()
    const arrival = { body: Readable.from([bytes]), checksum: null, pass, pieceBytes: 4_096, stop }
    await store.append({ record, offset: 0 }, arrival)
    expect(passed.reduce((sum, sizeBytes) => sum + sizeBytes, 0)).toBe(bytes.length)
    await store.remove(record.id)
  })

  it("is taken over by who comes next, in this gateway and in another one, and what had come is kept", async () => {
    const bytes = randomBytes(mebibyte)
    const id = await gateway.create(2 * bytes.length)
    for (const [other, before] of [
      [gateway, 0],
      [await world.gateway(), bytes.length - 1000]
    ] as const) {
      const sent = gateway.ask(
        appendOf(id, before, 2 * bytes.length - before),
        unending(bytes.subarray(0, bytes.length - 1000))
      )
      const broken = expect(sent).rejects.toMatchObject(refusal(409))
      await until("a batch is written", () => kept(id).length > before)
      expect(await other.offset(id)).toBe(before + bytes.length - 1000)
      await broken
    }
  })

  const Step = Schema.Struct({
    kind: Schema.Literals(["plain", "checked", "wrong", "cut", "cut checked", "restart", "again"]),
    part: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 900_000 }))
  })
  it.effect.prop(
    "ends with exactly its bytes, whatever happens on the way",
    [Schema.Array(Step).check(Schema.isMaxLength(8))],
    ([steps]) => Effect.promise(() => journey(steps)),
    { arbitrary: { runs: 15 }, timeout: 180_000 }
  )

  const journey = async (steps: ReadonlyArray<typeof Step.Type>) => {
    const bytes = randomBytes(2 * mebibyte)
    let here: Gateway = gateway
    const id = await here.create(bytes.length)
    let offset = 0
    for (const { kind, part } of steps) {
      const piece = bytes.subarray(offset, Math.min(bytes.length - 1, offset + part))
      const rightSum = checksumOf(piece)
      if (kind === "restart") here = await world.gateway()
      else if (kind === "again") await here.append(id, offset + 1, piece).catch(() => {})
      else if (kind === "wrong") await here.append(id, offset, randomBytes(piece.length + 1), wrong).catch(() => {})
      else if (kind.startsWith("cut")) {
        const body = unending(piece)
        const sent = here.ask(appendOf(id, offset, piece.length + 1, kind === "cut" ? null : rightSum), body)
        const broken = expect(sent).rejects.toMatchObject(refusal(409))
        await new Promise((taken) => setImmediate(taken))
        body.destroy()
        await broken
      } else await here.append(id, offset, piece, kind === "checked" ? rightSum : null)
      const now = await here.offset(id)
      if (kind === "plain" || kind === "checked") expect(now).toBe(offset + piece.length)
      else if (kind === "cut") expect(now).toBeGreaterThanOrEqual(offset)
      else expect(now).toBe(offset)
      offset = now
    }
    await here.append(id, offset, bytes.subarray(offset))
    expect(world.journal().find(({ file }) => file.fileId === id)?.file.sha256).toBe(sha256Of(bytes))
  }
})

describe("parts", () => {
  const entriesFor = (id: string) => world.journal().filter(({ file }) => file.fileId === id)
  const madeOf = async (from: Gateway, ...parts: Parameters<typeof wholeOf>[0]) => {
    const answer = await from.ask(wholeOf(parts))
    return answer.type === "Created" ? answer.id : ""
  }

  it("make one file in the order in which they are named, one of them twice, one of them empty", async () => {
    const [a, b] = [randomBytes(mebibyte + 3), randomBytes(10)]
    const ids = [await gateway.part(a), await gateway.part(b), await gateway.part(Buffer.alloc(0))] as const
    const id = await madeOf(gateway, ids[1], ids[0], ids[2], ids[1])
    const whole = Buffer.concat([b, a, b])
    expect(quarantined(whole)).toBe(true)
    expect(entriesFor(id)).toMatchObject([
      { file: { sha256: sha256Of(whole), sizeBytes: whole.length, name: "a.txt" } }
    ])
    expect(world.names("uploads").filter((name) => ids.some((part) => name.startsWith(part)))).toEqual([])
    expect(await gateway.ask({ type: "Look", id: ids[0] }).catch((error) => error)).toMatchObject(refusal(404))
  })

  it("make the same file when the request is sent again, also at once and at two gateways", async () => {
    const ids = [await gateway.part(randomBytes(mebibyte)), await gateway.part(randomBytes(5))] as const
    const other = await world.gateway()
    const made = await Promise.all([madeOf(gateway, ...ids), madeOf(gateway, ...ids), madeOf(other, ...ids)])
    made.push(await madeOf(await world.gateway(), ...ids))
    expect(new Set(made).size).toBe(1)
    expect(entriesFor(made[0] ?? "")).toHaveLength(1)
  })

  it("make the same file after a crash between any two steps", async () => {
    const bytes = randomBytes(1000)
    const ids = [await gateway.part(bytes.subarray(0, 600)), await gateway.part(bytes.subarray(600))] as const
    const failing = await world.gateway(2)
    for (let attempt = 0; attempt < 2; attempt++) await expect(madeOf(failing, ...ids)).rejects.toThrow("broke")
    expect(await gateway.offset(ids[0])).toBe(600)
    const id = await madeOf(await world.gateway(), ...ids)
    expect(entriesFor(id)).toMatchObject([{ file: { sha256: sha256Of(bytes) } }])
    expect(await gateway.offset(ids[0]).catch((error) => error)).toMatchObject(refusal(404))
  })

  it("that a crash left half joined, or joined and not described, are joined anew", async () => {
    const bytes = randomBytes(1000)
    const part = await gateway.part(bytes)
    const id = idOfWhole("ada", wholeOf([part]))
    writeFileSync(join(world.uploads, `${id}.preparing`), randomBytes(2000))
    writeFileSync(join(world.uploads, id), randomBytes(2000))
    expect(await madeOf(gateway, part)).toBe(id)
    expect(entriesFor(id)).toMatchObject([{ file: { sha256: sha256Of(bytes) } }])
  })

  it("are finished by the sweep when the crash came after their file was whole", async () => {
    const bytes = randomBytes(1000)
    const part = await gateway.part(bytes)
    await expect(madeOf(await world.gateway(1), part)).rejects.toThrow("broke")
    expect(await (await world.gateway()).sweep()).toMatchObject({ finished: 1 })
    expect(quarantined(bytes)).toBe(true)
  })

  it("are refused when one is missing, incomplete, somebody else's, or no part", async () => {
    const mine = await gateway.part(Buffer.from("mine"))
    const theirs = await gateway.part(Buffer.from("theirs"), "eve")
    const unfinished = await gateway.create(10, { isPart: true })
    const single = await gateway.create(0)
    const gone = await gateway.part(Buffer.from("gone"))
    await gateway.ask({ type: "Terminate", id: gone })
    const before = world.names("journal").length
    const statusOf = (part: typeof mine) => gateway.statusOf(wholeOf([mine, part]))
    expect(await Promise.all([theirs, single, gone].map(statusOf))).toEqual([400, 400, 400])
    expect(await statusOf(unfinished)).toBe(409)
    expect(world.names("journal")).toHaveLength(before)
    expect(await gateway.offset(mine)).toBe(4)
  })

  it("need a name for what they make, and may not be larger together than an upload may be", async () => {
    const part = await gateway.part(Buffer.from("part"))
    expect(await gateway.statusOf({ ...wholeOf([part]), metadata: {}, declared: null })).toBe(400)
    const size = 300 * mebibyte
    const large = [await gateway.create(size, { isPart: true }), await gateway.create(size, { isPart: true })] as const
    for (const id of large) truncateSync(join(world.uploads, id), size)
    expect(await gateway.statusOf(wholeOf(large))).toBe(413)
    for (const id of large) await gateway.ask({ type: "Terminate", id })
  })

  it("are never files by themselves, count as open uploads, and expire", async () => {
    const ids = [] as Array<Awaited<ReturnType<Gateway["part"]>>>
    for (let count = 0; count < 32; count++) ids.push(await gateway.part(Buffer.from("part"), "greedy"))
    await expect(gateway.part(Buffer.from("part"), "greedy")).rejects.toMatchObject(refusal(429))
    const before = world.names("journal").length
    await (await world.gateway()).sweep()
    expect(world.names("journal")).toHaveLength(before)
    const longAgo = Date.now() / 1000 - 25 * 60 * 60
    for (const id of ids) utimesSync(join(world.uploads, id), longAgo, longAgo)
    await expect(
      gateway.ask({ type: "Look", id: ids[0] ?? (await gateway.create(0)) }, undefined, "greedy")
    ).rejects.toMatchObject(refusal(410))
    expect(await gateway.sweep()).toMatchObject({ removed: 32 })
    await gateway.part(Buffer.from("part"), "greedy")
  })

  it("make a file to which nothing can be added", async () => {
    const part = await gateway.part(Buffer.from("part"))
    const answer = await gateway.ask(wholeOf([part]))
    if (answer.type !== "Created") throw new Error("nothing was made")
    await expect(gateway.append(answer.id, 4, Buffer.from("more"))).rejects.toMatchObject(refusal(403))
    expect(await gateway.ask({ type: "Look", id: answer.id })).toMatchObject({
      offset: 4,
      sizeBytes: 4,
      concat: `final;/files/${part}`
    })
  })
})
