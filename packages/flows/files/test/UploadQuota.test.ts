// What may be stored in a day: never more than that is admitted, however many begin at once and whoever comes and goes; what is deleted or
// expires is given back; and neither a restart nor a lost or broken ledger forgets anything.
import { spawn } from "node:child_process"
import { randomUUIDv7 } from "node:crypto"
import { once } from "node:events"
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { FileId } from "@holdfast/contracts/Ids"
import { Files } from "@holdfast/resilience/Limits"
import { Duration, Effect, Schema } from "effect"
import { TusRefusal } from "../src/Problem.ts"
import type { Charge } from "../src/QuotaLedger.ts"
import { UploadQuota } from "../src/UploadQuota.ts"
import { UploadWorld, wholeOf } from "./UploadWorld.ts"

const root = mkdtempSync(join(tmpdir(), "holdfast-quota-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))
let folders = 0
const newFolder = () => join(root, String(folders++))
const newId = () => FileId.make(randomUUIDv7())
const dayMs = Duration.toMillis(Files.quotaWindow)
const limits = { perPrincipalBytes: 100, totalBytes: 250 }

class Clock {
  nowMs = Date.UTC(2026, 0, 5, 8)
  readonly uploads = new Map<FileId, Charge>()
  readonly folder = newFolder()
  /** Another gateway on the same folder, or the same one after a restart. */
  quota() {
    return new UploadQuota({
      folder: this.folder,
      limits,
      describe: async () => [...this.uploads.values()],
      nowMs: () => this.nowMs
    })
  }
  takenBytes(owner: string | null) {
    const counted = [...this.uploads.values()].filter(({ atMs }) => atMs > this.nowMs - dayMs)
    return counted.filter((one) => owner === null || one.ownerId === owner).reduce((sum, one) => sum + one.sizeBytes, 0)
  }
}

const refusalOf = async (taken: Promise<void>) => {
  try {
    await taken
    return null
  } catch (error) {
    if (error instanceof TusRefusal) return error.problem
    throw error
  }
}

describe("a quota", () => {
  it("refuses what would go beyond a principal's own, and says the limit and when there is room", async () => {
    const clock = new Clock()
    const quota = clock.quota()
    await quota.take(newId(), "ada", 60)
    clock.nowMs += 1000
    await quota.take(newId(), "ada", 30)
    const problem = await refusalOf(quota.take(newId(), "ada", 20))
    expect(problem).toMatchObject({
      status: 429,
      tag: "UploadQuotaExceeded",
      fields: { limitBytes: 100, takenBytes: 90 }
    })
    expect(problem?.title).toContain("You may upload 100 bytes in 24 hours")
    expect(problem?.title).toContain("2026-01-06T08:00:00.000Z")
    expect(problem?.headers?.["retry-after"]).toBe(String(dayMs / 1000 - 1))
    clock.nowMs = Date.UTC(2026, 0, 6, 8)
    await quota.take(newId(), "ada", 20)
  })

  it("of all together is another status, and what can never fit is a third", async () => {
    const clock = new Clock()
    const quota = clock.quota()
    for (const owner of ["ada", "bob"]) await quota.take(newId(), owner, 100)
    await quota.take(newId(), "eve", 50)
    expect(await refusalOf(quota.take(newId(), "eve", 1))).toMatchObject({
      status: 507,
      tag: "DeskUploadQuotaExceeded"
    })
    const tooLarge = await refusalOf(quota.take(newId(), "eve", 101))
    expect(tooLarge).toMatchObject({ status: 413 })
    expect(tooLarge?.headers).toBeUndefined()
  })

  it("charges an upload once, and a whole in place of its parts", async () => {
    const clock = new Clock()
    const quota = clock.quota()
    const [first, second, whole] = [newId(), newId(), newId()]
    for (const part of [first, second]) await quota.take(part, "ada", 50)
    for (let time = 0; time < 2; time++) await quota.take(whole, "ada", 100, [first, second])
    expect(await refusalOf(quota.take(newId(), "ada", 1))).toMatchObject({ status: 429 })
    const charge = (id: FileId): Charge => ({ id, ownerId: "ada", sizeBytes: 50, atMs: clock.nowMs })
    await quota.putBack(whole, [charge(first), charge(second)])
    await quota.giveBack(first)
    await quota.take(newId(), "ada", 50)
    expect(await refusalOf(quota.take(newId(), "ada", 1))).toMatchObject({ status: 429 })
  })

  it("does not let anybody take over what others were charged with", async () => {
    const clock = new Clock()
    const quota = clock.quota()
    const theirs = newId()
    await quota.take(theirs, "ada", 100)
    await quota.take(newId(), "bob", 60)
    expect(await refusalOf(quota.take(newId(), "bob", 60, [theirs]))).toMatchObject({ status: 429 })
  })

  it("that is lost or broken is put together from the uploads that are there", async () => {
    const clock = new Clock()
    const id = newId()
    clock.uploads.set(id, { id, ownerId: "ada", sizeBytes: 90, atMs: clock.nowMs })
    expect(await refusalOf(clock.quota().take(newId(), "ada", 20))).toMatchObject({ status: 429 })
    const [name = ""] = readdirSync(clock.folder)
    for (const harm of [Buffer.alloc(8192, 7), Buffer.from("SQLite format 3\0 and nonsense".repeat(300))]) {
      writeFileSync(join(clock.folder, name), harm)
      expect(await refusalOf(clock.quota().take(newId(), "ada", 20))).toMatchObject({ status: 429 })
    }
    expect(readdirSync(clock.folder).length).toBeLessThanOrEqual(3)
  })

  it("waits for another process that holds the ledger", async () => {
    const clock = new Clock()
    const quota = clock.quota()
    await quota.take(newId(), "ada", 90)
    const [name = ""] = readdirSync(clock.folder)
    const holder = `const { DatabaseSync } = require("node:sqlite")
      const file = new DatabaseSync(${JSON.stringify(join(clock.folder, name))})
      file.exec("BEGIN EXCLUSIVE; DELETE FROM charge")
      process.stdin.once("data", () => process.exit(0))
      console.log("held")`
    const child = spawn(process.execPath, ["-e", holder], { stdio: ["pipe", "pipe", "ignore"] })
    await once(child.stdout, "data")
    const taken = refusalOf(quota.take(newId(), "ada", 20))
    child.stdin.write("end")
    // It ended without saying so: what it had begun is taken back.
    expect(await taken).toMatchObject({ status: 429 })
  })

  const below = (max: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: max - 1 }))
  const Step = Schema.Union([
    Schema.TaggedStruct("begin", {
      owners: Schema.Array(below(3)).check(Schema.isMaxLength(6)),
      sizeBytes: below(120)
    }),
    Schema.TaggedStruct("end", { which: below(8) }),
    Schema.TaggedStruct("later", { hours: below(20) }),
    Schema.TaggedStruct("restart", { isLedgerLost: Schema.Boolean }),
    Schema.TaggedStruct("sweep", {})
  ])

  it.effect.prop(
    "never admits more than there is room for, and all of what there is room for",
    [Schema.Array(Step).check(Schema.isMaxLength(24))],
    ([steps]) =>
      Effect.promise(async () => {
        const clock = new Clock()
        let gateways = [clock.quota(), clock.quota()]
        for (const step of steps) {
          const [one = clock.quota(), other = one] = gateways
          if (step._tag === "later") clock.nowMs += step.hours * 3_600_000
          else if (step._tag === "sweep") await one.sweep(new Set(clock.uploads.keys()))
          else if (step._tag === "restart") {
            if (step.isLedgerLost) rmSync(clock.folder, { recursive: true, force: true })
            gateways = [clock.quota(), clock.quota()]
          } else if (step._tag === "end") {
            const id = [...clock.uploads.keys()][step.which]
            if (id === undefined) continue
            clock.uploads.delete(id)
            await other.giveBack(id)
          } else {
            const before = new Map([0, 1, 2].map((owner) => [owner, clock.takenBytes(`p${owner}`)]))
            const allBefore = clock.takenBytes(null)
            const begun = step.owners.map(async (owner, index) => {
              const charge = { id: newId(), ownerId: `p${owner}`, sizeBytes: step.sizeBytes, atMs: clock.nowMs }
              const refusal = await refusalOf((index % 2 ? one : other).take(charge.id, charge.ownerId, step.sizeBytes))
              if (refusal === null) clock.uploads.set(charge.id, charge)
              return { owner, isAdmitted: refusal === null }
            })
            const results = await Promise.all(begun)
            const admitted = results.filter(({ isAdmitted }) => isAdmitted).length
            // Who is refused would not have fitted beside those that were admitted.
            for (const { isAdmitted, owner } of results) {
              if (isAdmitted) continue
              const own = results.filter((result) => result.owner === owner && result.isAdmitted).length
              const ownBytes = (before.get(owner) ?? 0) + (own + 1) * step.sizeBytes
              const allBytes = allBefore + (admitted + 1) * step.sizeBytes
              expect(ownBytes > limits.perPrincipalBytes || allBytes > limits.totalBytes).toBe(true)
            }
          }
          for (const owner of ["p0", "p1", "p2"]) {
            expect(clock.takenBytes(owner)).toBeLessThanOrEqual(limits.perPrincipalBytes)
          }
          expect(clock.takenBytes(null)).toBeLessThanOrEqual(limits.totalBytes)
        }
      }),
    { arbitrary: { runs: 40 } }
  )
})

describe("uploads", () => {
  const world = new UploadWorld()
  afterAll(() => world.end())
  const create = (sizeBytes: number) =>
    ({ type: "Create", sizeBytes, isPart: false, content: null, metadata: { filename: "a" }, declared: null }) as const

  it("are charged when they begin, and give back when they are deleted, but not when they are a file", async () => {
    const gateway = await world.gateway(0, limits)
    const first = await gateway.create(60)
    expect(await gateway.statusOf(create(60))).toBe(429)
    expect(await (await world.gateway(0, limits)).statusOf(create(60))).toBe(429)
    await gateway.ask({ type: "Terminate", id: first })
    const second = await gateway.create(60)
    await gateway.append(second, 0, Buffer.alloc(60, 1))
    expect(await gateway.statusOf(create(60))).toBe(429)
    expect(await gateway.statusOf(create(60), undefined, "bob")).toBe(200)
    expect(await gateway.statusOf(create(101))).toBe(413)
    expect(await (await world.gateway(0, limits)).statusOf(create(41))).toBe(429)
  })

  it("made of parts are charged once", async () => {
    const gateway = await world.gateway(0, limits)
    const parts = [await gateway.part(Buffer.alloc(50, 2), "carl"), await gateway.part(Buffer.alloc(50, 3), "carl")]
    const [first, second] = parts
    if (first === undefined || second === undefined) return
    expect(await gateway.statusOf(wholeOf([first, second]), undefined, "carl")).toBe(200)
    expect(await gateway.statusOf(create(1), undefined, "carl")).toBe(429)
  })
})
