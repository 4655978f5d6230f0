import { appendFileSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type CommandTold, makeLedger, readLedger, type Told } from "../src/drill/Ledger.ts"

const root = mkdtempSync(join(tmpdir(), "holdfast-ledger-"))
afterAll(() => rmSync(root, { recursive: true }))

const command = (commandId: string, told: Told): CommandTold => ({
  ...{ commandId, told, kind: "AddNote", principalId: "drill-agent-1", streamId: "s", version: told === "done" ? 3 : 0 }
})

const allOf = async <A>(batches: AsyncIterable<ReadonlyArray<A>>): Promise<ReadonlyArray<A>> => {
  const all: Array<A> = []
  for await (const batch of batches) all.push(...batch)
  return all
}

describe("the ledger of a drill", () => {
  it.effect("is read as it was written, after the drill is gone", () =>
    Effect.gen(function* () {
      const folder = join(root, "written")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const ledger = yield* makeLedger(folder)
          ledger.command(command("a", "unknown"))
          ledger.command(command("a", "done"), true)
          ledger.upload({ fileId: "f", sha256: "hash", sizeBytes: 7, told: "accepted" })
          ledger.feed({ number: 1, after: 40 })
          ledger.feed({ number: 2, after: 41, ticketId: "t", customerId: "c" })
          for (const position of [41, 42, 42]) ledger.position(1, position)
        })
      )
      const read = readLedger(folder)
      assert.deepStrictEqual(yield* Effect.promise(() => allOf(read.commands())), [
        command("a", "unknown"),
        command("a", "done")
      ])
      assert.deepStrictEqual(yield* Effect.promise(() => allOf(read.uploads())), [
        { fileId: "f", sha256: "hash", sizeBytes: 7, told: "accepted" }
      ])
      assert.deepStrictEqual(yield* Effect.promise(read.feeds), [
        { number: 1, after: 40 },
        { number: 2, after: 41, ticketId: "t", customerId: "c" }
      ])
      assert.deepStrictEqual(yield* Effect.promise(() => allOf(read.positions(1))), [41, 42, 42])
    })
  )

  it.effect("takes nothing once it is closed, however much is still told", () =>
    Effect.gen(function* () {
      const folder = join(root, "closed")
      const ledger = yield* Effect.scoped(makeLedger(folder))
      for (let count = 0; count < 10_000; count++) ledger.command(command("late", "done"))
      assert.deepStrictEqual(yield* Effect.promise(() => allOf(readLedger(folder).commands())), [])
    })
  )

  it.effect("leaves out the line at which the drill was cut off", () =>
    Effect.gen(function* () {
      const folder = join(root, "cut")
      yield* Effect.scoped(Effect.map(makeLedger(folder), (ledger) => ledger.command(command("a", "done"))))
      appendFileSync(join(folder, "commands.tsv"), "b\tAddNote\tdrill-ag")
      assert.deepStrictEqual(yield* Effect.promise(() => allOf(readLedger(folder).commands())), [command("a", "done")])
    })
  )

  it.effect("counts what was learnt by repeating, and keeps only the rest in memory", () =>
    Effect.gen(function* () {
      const ledger = yield* makeLedger(join(root, "counted"))
      for (const id of ["a", "b", "c"]) ledger.command(command(id, "unknown"))
      ledger.command(command("a", "done"), true)
      ledger.command(command("b", "done"), false)
      ledger.command(command("d", "done"))
      ledger.command(command("e", "refused"))
      const { acknowledged, hadBeenDone, refused, resolved, unknown, unresolved } = ledger.counts
      assert.deepStrictEqual(
        { acknowledged, hadBeenDone, refused, resolved, unknown, unresolved },
        { acknowledged: 3, hadBeenDone: 1, refused: 1, resolved: 2, unknown: 3, unresolved: 1 }
      )
    }).pipe(Effect.scoped)
  )
})
