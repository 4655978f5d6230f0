// The view sync law on a real database: what is projected equals the fold of the log, for every event type, in whatever portions and
// repetitions the events come.
import { FileView } from "@holdfast/contracts/attachment/Views"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { eventTypes } from "@holdfast/contracts/EventVersions"
import { FileId, Position, TicketId } from "@holdfast/contracts/Ids"
import { TicketView } from "@holdfast/contracts/ticket/Views"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { ReadDatabase } from "@holdfast/database/Database"
import type { EventLog } from "@holdfast/database/EventLog"
import { noChanges, ReadProjection, ReadTables } from "@holdfast/database/ReadTables"
import * as ReadTablesPostgres from "@holdfast/database/ReadTablesPostgres"
import * as ReadTablesProjection from "@holdfast/database/ReadTablesProjection"
import { applyFile } from "@holdfast/domain/attachment/FileView"
import { applyTicket, messageOf } from "@holdfast/domain/ticket/TicketView"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { Views } from "@holdfast/resilience/Limits"
import { fullHistory } from "@holdfast/testkit/History"
import { Effect, Layer, Schema, type Scope } from "effect"
import { describe, expect, it } from "vitest"
import { project, projectViews, tendViews } from "../../src/consumers/ProjectViews.ts"
import { GapWatch } from "../../src/consumers/Tend.ts"
import { memoryLog } from "./MemoryLog.ts"

const readSide = Layer.unwrap(
  Effect.map(migratedDatabase, (url) =>
    Layer.mergeAll(ReadTablesPostgres.layer, ReadTablesProjection.layer).pipe(
      Layer.provide(ReadDatabase.layer),
      Layer.provide(ClientPostgres.layerRead({ url, applicationName: "test" }))
    )
  )
).pipe(Layer.provide(Health.layer))

const history = fullHistory().envelopes

const run = <A, E>(
  effect: Effect.Effect<A, E, ReadTables | ReadProjection | EventLog | Scope.Scope>,
  log = memoryLog(history)
) => Effect.runPromise(Effect.scoped(effect.pipe(Effect.provide(Layer.merge(Layer.fresh(readSide), log.layer)))))

/** Everything that the read database holds of the history. */
const projected = Effect.gen(function* () {
  const { conversations, files, ticketsByIds } = yield* ReadTables
  const ids = (type: Envelope["streamType"]) => [
    ...new Set(history.filter((one) => one.streamType === type).map((one) => one.streamId))
  ]
  const ticketIds = ids("ticket").map((id) => TicketId.make(id))
  const tickets = yield* ticketsByIds(ticketIds)
  const talks = yield* conversations(
    ticketIds.map((ticketId) => ({ ticketId, after: null, first: 100, internal: true }))
  )
  const found = yield* files(ids("file").map((id) => FileId.make(id)))
  const byId = <A extends { readonly id: string }>(all: ReadonlyArray<A>) =>
    [...all].sort((a, b) => a.id.localeCompare(b.id))
  return {
    tickets: byId(tickets.value.map(({ ticket }) => ticket)),
    messageIds: talks.value.map(({ messages }) => messages.map(({ id }) => id)),
    files: byId(found.value),
    position: tickets.position
  }
})

const streams = [...Map.groupBy(history, ({ streamId }) => streamId).values()]
const expected = {
  tickets: streams
    .filter(([first]) => first?.streamType === "ticket")
    .map((events) => events.reduce<TicketView | null>(applyTicket, null))
    .flatMap((view) => (view === null ? [] : [Schema.encodeSync(TicketView)(view)])),
  messageIds: streams
    .filter(([first]) => first?.streamType === "ticket")
    .map((events) => events.flatMap((event) => messageOf(event)?.id ?? [])),
  files: streams
    .filter(([first]) => first?.streamType === "file")
    .map((events) => events.reduce<FileView | null>(applyFile, null))
    .flatMap((view) => (view === null ? [] : [Schema.encodeSync(FileView)(view)])),
  position: history.length
}

describe("the projected views", () => {
  it("are made from a history that has every event type", () => {
    const types = new Set<string>(history.map(({ event }) => event._tag))
    expect(eventTypes.filter((type) => !types.has(type))).toEqual([])
  })

  it("equal the fold of the log when events come one by one", async () => {
    const actual = await run(
      Effect.andThen(
        Effect.forEach(history, (one) => project([one])),
        projected
      )
    )
    expect(actual).toEqual(expected)
  })

  it("equal the fold of the log when all come at once, twice", async () => {
    expect(await run(Effect.andThen(Effect.andThen(project(history), project(history)), projected))).toEqual(expected)
  })

  it("equal the fold of the log through the consumer, streams in parallel", async () => {
    const work = Effect.gen(function* () {
      const { handle } = yield* projectViews
      yield* Effect.forEach(streams, (events) => Effect.forEach(events, handle), { concurrency: "unbounded" })
      return yield* projected
    })
    expect(await run(work)).toEqual(expected)
  })

  it("take from the log what they missed", async () => {
    const log = memoryLog(history)
    const newest = streams.flatMap((events) => events.slice(-1))
    const { position: _position, ...views } = await run(Effect.andThen(project(newest), projected), log)
    expect(views).toEqual({ tickets: expected.tickets, messageIds: expected.messageIds, files: expected.files })
    expect(log.asked.length).toBeGreaterThan(0)
  })

  it("stand before the first missing position, and pass it once it will not come", async () => {
    const work = Effect.gen(function* () {
      const projection = yield* ReadProjection
      const beforeGap = history.filter(({ position }) => position !== 2)
      yield* project(beforeGap)
      const stuck = yield* projection.progress
      yield* projection.save(noChanges, { applied: [], through: 2, nowMs: 1 })
      const passed = yield* projection.progress
      yield* tendViews(new GapWatch())
      return { stuck, passed, current: yield* projection.progress }
    })
    const { current, passed, stuck } = await run(work)
    expect(stuck).toMatchObject({ position: 1, aheadFrom: 3 })
    expect(passed).toMatchObject({ position: history.length, aheadFrom: null, movedAtMs: 1 })
    expect(current.asOfMs).toBeGreaterThan(passed.asOfMs)
  })

  it("close a gap behind which more waits than a batch looks at", async () => {
    const behind = Array.from({ length: 2.5 * Views.aheadReadMax }, (_, index) => ({
      position: index + 2,
      occurredAtMs: index
    }))
    const longer = history.map((one) => ({ ...one, position: Position.make(one.position + behind.length) }))
    const work = Effect.gen(function* () {
      const projection = yield* ReadProjection
      yield* projection.save(noChanges, { applied: behind, nowMs: 1 })
      yield* projection.save(noChanges, { applied: [{ position: 1, occurredAtMs: 0 }], nowMs: 1 })
      const first = yield* projection.progress
      const watch = new GapWatch()
      yield* tendViews(watch)
      yield* tendViews(watch)
      return { first, last: yield* projection.progress }
    })
    const { first, last } = await run(work, memoryLog(longer))
    expect(first).toMatchObject({ position: 1 + Views.aheadReadMax, aheadFrom: 2 + Views.aheadReadMax })
    expect(last).toMatchObject({ position: behind.length + 1, aheadFrom: null })
  })
})
