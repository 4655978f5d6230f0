// The journal and the registrar: what is written is there, what the core accepted goes, what it cannot take now stays.
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { FileAlreadyRegistered } from "@holdfast/contracts/attachment/Refusals"
import type { CommandError } from "@holdfast/contracts/CommandErrors"
import { OutcomeUnknown, WriteUnavailable } from "@holdfast/contracts/CommandErrors"
import type { DeskRefusal } from "@holdfast/contracts/Commands"
import { CommandId, CorrelationId, FileId, PrincipalId, Sha256, StreamId, StreamVersion } from "@holdfast/contracts/Ids"
import { CommandBus, type IssuedCommand } from "@holdfast/contracts/wire/CommandBus"
import { uuid } from "@holdfast/testkit/History"
import { Effect, Layer, Option } from "effect"
import * as JournalDisk from "../src/Journal.ts"
import { Journal, type JournalEntry } from "../src/Journal.ts"
import { runOnce } from "../src/Registrar.ts"

const entry = (n: number): JournalEntry => ({
  file: {
    fileId: FileId.make(uuid(n)),
    name: "a.txt",
    sizeBytes: 5,
    sha256: Sha256.make("a".repeat(64)),
    declaredType: "text/plain",
    ownerId: PrincipalId.make("ada")
  },
  correlationId: CorrelationId.make(uuid(1000 + n)),
  traceparent: `00-${"1".repeat(32)}-${"2".repeat(16)}-01`
})

class Core {
  readonly issued: Array<IssuedCommand> = []
  answer: CommandError | DeskRefusal | null = null
  readonly bus = CommandBus.of({
    execute: (command) =>
      Effect.suspend(() => {
        this.issued.push(command)
        if (this.answer !== null) return Effect.fail(this.answer)
        const { commandId } = command.meta
        return Effect.succeed({
          commandId,
          streamId: StreamId.make(commandId),
          version: StreamVersion.make(1),
          replayed: false
        })
      })
  })
}

const withJournal = <A, E>(
  core: Core,
  body: (folder: string) => Effect.Effect<A, E, Journal | CommandBus>
): Effect.Effect<A, E> =>
  Effect.scoped(
    Effect.flatMap(
      Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-journal-"))),
        (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
      ),
      (folder) =>
        body(folder).pipe(Effect.provide(Layer.merge(JournalDisk.layer(folder), Layer.succeed(CommandBus, core.bus))))
    )
  )

const waiting = Journal.use((journal) => journal.list(10))

describe("the journal", () => {
  it.effect("gives back what was written, oldest first, and at most so many", () =>
    withJournal(new Core(), () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        yield* Effect.forEach([3, 1, 2, 1], (n) => journal.write(entry(n)))
        expect(yield* journal.list(2)).toEqual([uuid(1), uuid(2)])
        expect(yield* journal.read(entry(3).file.fileId)).toEqual(Option.some(entry(3)))
      })
    )
  )

  it.effect("sets aside what it cannot read, and passes over what is half-written or strange", () =>
    withJournal(new Core(), (folder) =>
      Effect.gen(function* () {
        const journal = yield* Journal
        const fileId = FileId.make(uuid(7))
        const names = [`${fileId}.json`, "x.partial", "notes.json"]
        yield* Effect.promise(() => Promise.all(names.map((name) => writeFile(join(folder, name), "{"))))
        expect(yield* journal.list(10)).toEqual([fileId])
        expect(yield* journal.read(fileId)).toEqual(Option.none())
        expect(yield* Effect.promise(() => readdir(join(folder, "aside")))).toEqual([`${fileId}.json`])
        expect(yield* journal.read(fileId)).toEqual(Option.none())
      })
    )
  )
})

describe("the registrar", () => {
  const core = () => new Core()

  it.effect("tells the core of each upload once and forgets it then", () => {
    const desk = core()
    return withJournal(desk, () =>
      Effect.gen(function* () {
        yield* Journal.use((journal) => Effect.forEach([1, 2], (n) => journal.write(entry(n))))
        yield* runOnce
        yield* runOnce
        // Several are told at once, so in no promised order.
        const told = new Map(desk.issued.map(({ command, meta }) => [meta.correlationId, command]))
        expect(desk.issued).toHaveLength(2)
        for (const n of [1, 2]) {
          expect(told.get(entry(n).correlationId)).toEqual({ _tag: "RegisterFile", ...entry(n).file })
        }
        expect(desk.issued[0]?.principal).toEqual({ id: "file-worker", role: "service" })
        expect(yield* waiting).toEqual([])
      })
    )
  })

  it.effect.each([
    new WriteUnavailable({ retryAfterMs: 10 }),
    new OutcomeUnknown({ commandId: CommandId.make(uuid(1)), retryAfterMs: 10 })
  ])("keeps an upload while the core answers with $_tag, and repeats the same command", (answer) => {
    const desk = core()
    desk.answer = answer
    return withJournal(desk, () =>
      Effect.gen(function* () {
        yield* Journal.use((journal) => journal.write(entry(1)))
        expect(yield* Effect.flip(runOnce)).toMatchObject({ _tag: "Unavailable", dependency: "database" })
        expect(yield* waiting).toHaveLength(1)
        desk.answer = null
        yield* runOnce
        expect(yield* waiting).toEqual([])
        expect(new Set(desk.issued.map(({ meta }) => meta.commandId)).size).toBe(1)
      })
    )
  })

  it.effect("sets aside what the core refuses for good, and goes on with the next", () => {
    const desk = core()
    return withJournal(desk, (folder) =>
      Effect.gen(function* () {
        desk.answer = new FileAlreadyRegistered({ fileId: entry(1).file.fileId })
        yield* Journal.use((journal) => journal.write(entry(1)))
        yield* runOnce
        expect(yield* waiting).toEqual([])
        expect(yield* Effect.promise(() => readdir(join(folder, "aside")))).toHaveLength(1)
      })
    )
  })
})
