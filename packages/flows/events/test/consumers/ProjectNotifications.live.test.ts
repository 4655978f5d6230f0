// Notifications on a real database: what each reader is shown equals what the domain says of the log, in whatever order the streams of events
// come; what was read is read, also where that came first; and nothing grows without bound.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { EventId, Position, PrincipalId } from "@holdfast/contracts/Ids"
import { isStaff, type Principal } from "@holdfast/contracts/Principal"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { ReadDatabase } from "@holdfast/database/Database"
import type { EventLog } from "@holdfast/database/EventLog"
import { type NotificationPageRequest, noChanges, ReadProjection, ReadTables } from "@holdfast/database/ReadTables"
import * as ReadTablesPostgres from "@holdfast/database/ReadTablesPostgres"
import * as ReadTablesProjection from "@holdfast/database/ReadTablesProjection"
import { notificationFor } from "@holdfast/domain/notification/Notifications"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { Notifications } from "@holdfast/resilience/Limits"
import { History, principal, uuid } from "@holdfast/testkit/History"
import { DateTime, Effect, Layer, type Scope } from "effect"
import { describe, expect, it } from "vitest"
import { project } from "../../src/consumers/ProjectViews.ts"
import { memoryLog } from "./MemoryLog.ts"

const readSide = Layer.unwrap(
  Effect.map(migratedDatabase, (url) =>
    Layer.mergeAll(ReadTablesPostgres.layer, ReadTablesProjection.layer).pipe(
      Layer.provide(ReadDatabase.layer),
      Layer.provide(ClientPostgres.layerRead({ url, applicationName: "test" }))
    )
  )
).pipe(Layer.provide(Health.layer))

const ada = principal("agent", "ada")
const bob = principal("agent", "bob")
const carol = principal("customer", "carol")
const dora = principal("customer", "dora")
const everybody = [ada, bob, carol, dora]

/** Two tickets and a file; carol has read by position and one by one, bob what he was named in. */
const past = () => {
  const history = new History()
  const first = history.open(carol, "Printer")
  history.issue(ada, { _tag: "AssignTicket", ticketId: first, assigneeId: bob.id })
  history.issue(ada, { _tag: "AddNote", ticketId: first, body: "see", mentions: [bob.id, carol.id, dora.id] })
  history.issue(bob, { _tag: "ReplyToTicket", ticketId: first, body: "hello" })
  history.issue(carol, { _tag: "ReadNotifications", upTo: Position.make(history.envelopes.length) })
  history.issue(carol, { _tag: "ReplyToTicket", ticketId: first, body: "hello?" })
  const second = history.open(dora, "Network")
  history.issue(ada, { _tag: "ReplyToTicket", ticketId: second, body: "hello", mentions: [dora.id, bob.id] })
  const fileId = history.upload(carol, "virus.png", first)
  history.issue(principal("service", "file-pipeline"), {
    _tag: "RecordFileStages",
    fileId,
    stages: [
      {
        stage: "identify",
        outcome: { _tag: "Rejected", reason: "malware", detail: "found" },
        tool: { name: "test", version: "1" },
        durationMs: 1
      }
    ]
  })
  const named = history.envelopes.findLast(({ event }) => event._tag === "TicketReplied")
  history.issue(bob, { _tag: "ReadNotifications", eventIds: [named?.eventId ?? EventId.make(uuid(1))] })
  history.issue(ada, { _tag: "ReplyToTicket", ticketId: first, body: "again" })
  return history.envelopes
}
const history = past()
const streams = [...Map.groupBy(history, ({ streamId }) => streamId).values()]

const run = <A, E>(effect: Effect.Effect<A, E, ReadTables | ReadProjection | EventLog | Scope.Scope>) =>
  Effect.runPromise(
    Effect.scoped(effect.pipe(Effect.provide(Layer.merge(Layer.fresh(readSide), memoryLog(history).layer))))
  )

const asked = (who: Principal, more: Partial<NotificationPageRequest> = {}): NotificationPageRequest => ({
  reader: { id: who.id, isStaff: isStaff(who) },
  first: 100,
  before: null,
  unreadOnly: false,
  ...more
})

const shown = Effect.gen(function* () {
  const { notifications } = yield* ReadTables
  return yield* Effect.forEach(everybody, (who) => Effect.map(notifications(asked(who)), ({ value }) => value))
})

const isRead = ({ event, position }: Envelope, about: Envelope): boolean =>
  event._tag === "NotificationsRead" &&
  about.position < position &&
  ((event.upTo ?? -1) >= about.position || (event.eventIds?.includes(about.eventId) ?? false))

/** By the log alone: read is what its reader said is read, after it was there. */
const expected = everybody.map((who) => {
  const reads = history.filter(({ principal: by }) => by.id === who.id)
  const notifications = history.toReversed().flatMap((envelope) => {
    const kind = notificationFor(envelope, who)
    const read = reads.find((one) => isRead(one, envelope))
    return kind === null
      ? []
      : [
          {
            eventId: envelope.eventId,
            position: envelope.position,
            kind,
            actor: expect.objectContaining({ id: envelope.principal.id }),
            ticketId: envelope.streamType === "ticket" ? envelope.streamId : null,
            fileId: envelope.streamType === "file" ? envelope.streamId : null,
            occurredAtMs: DateTime.toEpochMillis(envelope.occurredAt),
            readAtMs: read === undefined ? null : DateTime.toEpochMillis(read.occurredAt)
          }
        ]
  })
  const unreadCount = notifications.filter(({ readAtMs }) => readAtMs === null).length
  return { notifications, hasNextPage: false, unreadCount }
})

const row = (n: number, occurredAtMs = n) => ({
  recipientId: PrincipalId.make("ada"),
  kind: "assigned" as const,
  visibility: { audience: "public" as const, requesterId: PrincipalId.make("carol") },
  eventId: EventId.make(uuid(n)),
  position: n,
  actor: { id: PrincipalId.make("bob") },
  ticketId: uuid(1),
  fileId: null,
  occurredAtMs
})

describe("kept notifications", () => {
  it("are of every kind in this past, read and unread", () => {
    const all = expected.flatMap(({ notifications }) => notifications)
    expect(new Set(all.map(({ kind }) => kind))).toEqual(new Set(["assigned", "mentioned", "replied", "fileRejected"]))
    expect(new Set(all.map(({ readAtMs }) => readAtMs === null))).toEqual(new Set([true, false]))
  })

  it.each([
    ["one by one", history.map((one) => [one])],
    ["all at once, twice", [history, history]],
    ["stream by stream", streams],
    ["stream by stream, from the last", streams.toReversed()],
    ["what was read first", [...streams.filter(([one]) => one?.streamType === "inbox"), ...streams]]
  ])("are what the log says when events come %s", async (_, portions) => {
    expect(await run(Effect.andThen(Effect.forEach(portions, project), shown))).toEqual(expected)
  })

  it("come by pages, and unread alone", async () => {
    const work = Effect.gen(function* () {
      yield* project(history)
      const { notifications } = yield* ReadTables
      const first = yield* notifications(asked(carol, { first: 1 }))
      const before = first.value.notifications[0]?.position ?? 0
      const second = yield* notifications(asked(carol, { first: 1, before }))
      return [first.value, second.value, (yield* notifications(asked(carol, { unreadOnly: true }))).value]
    })
    const [first, second, unread] = await run(work)
    const carols = expected[2]
    expect(first).toMatchObject({ notifications: carols?.notifications.slice(0, 1), hasNextPage: true })
    expect(second?.notifications).toEqual(carols?.notifications.slice(1, 2))
    expect(unread?.notifications).toEqual(carols?.notifications.filter(({ readAtMs }) => readAtMs === null))
  })

  it("are bounded for each person and by age", async () => {
    const work = Effect.gen(function* () {
      const projection = yield* ReadProjection
      const { notifications } = yield* ReadTables
      const rows = Array.from({ length: Notifications.keptMax + 20 }, (_, n) => row(n + 1))
      yield* projection.save({ ...noChanges, notifications: rows }, { applied: [], nowMs: 1 })
      const count = Effect.map(notifications(asked(ada, { first: 0 })), ({ value }) => value.unreadCount)
      const kept = yield* count
      const swept = yield* projection.sweepNotifications(Notifications.keptMax, 100)
      return { kept, swept, left: yield* count }
    })
    const { kept, left, swept } = await run(work)
    expect(kept).toBe(Notifications.keptMax)
    expect(swept).toBe(100)
    expect(left).toBe(Notifications.keptMax - 100)
  })

  it("that came after somebody read up to a position far ahead are unread", async () => {
    const work = Effect.gen(function* () {
      const projection = yield* ReadProjection
      const { notifications } = yield* ReadTables
      const seen = { principalId: ada.id, upTo: 1_000_000, eventIds: [], position: 5, atMs: 5 }
      yield* projection.save({ ...noChanges, notificationsSeen: [seen] }, { applied: [], nowMs: 1 })
      yield* projection.save({ ...noChanges, notifications: [row(4), row(6)] }, { applied: [], nowMs: 1 })
      return (yield* notifications(asked(ada))).value.notifications.map(({ position, readAtMs }) => [
        position,
        readAtMs
      ])
    })
    expect(await run(work)).toEqual([
      [6, null],
      [4, 5]
    ])
  })
})
