// The promises of the command store, on the real server: once per commandId, one winner per version, and what comes back is what went in.
import { randomUUID } from "node:crypto"
import { PgClient } from "@effect/sql-pg"
import { expect, it } from "@effect/vitest"
import type { CommandAccepted } from "@holdfast/contracts/Command"
import {
  CommandId,
  CorrelationId,
  EventId,
  PrincipalId,
  StreamId,
  StreamVersion,
  TicketId
} from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { decideCommand } from "@holdfast/domain/Aggregates"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { DateTime, Deferred, Effect, Fiber, Layer, Result, Schedule } from "effect"
import * as ClientPostgres from "../src/ClientPostgres.ts"
import { type CommandKey, CommandStore, type Decided, type StoredAggregate } from "../src/CommandStore.ts"
import * as CommandStorePostgres from "../src/CommandStorePostgres.ts"
import { Database } from "../src/Database.ts"
import { transaction } from "../src/Transaction.ts"

const store = Layer.unwrap(
  Effect.map(migratedDatabase, (url) =>
    CommandStorePostgres.layer.pipe(
      Layer.provideMerge(Database.layer),
      Layer.provideMerge(ClientPostgres.layer({ url, applicationName: "command-store-test" }))
    )
  )
).pipe(Layer.provide(Health.layer))

const agent: Principal = { id: PrincipalId.make("agent-1"), role: "agent" }
const customer: Principal = { id: PrincipalId.make("customer-1"), role: "customer", name: 'Zoë \u2028 😀 \\ "quoted"' }
const nobody: StoredAggregate | null = null

const newId = () => CommandId.make(randomUUID())
/** Asked again while all connections are busy, as callers are told to: 64 at once may be more than a busy machine serves in time. */
const whenNotBusy = <A>(effect: Effect.Effect<A, Unavailable>) =>
  Effect.retry(effect, { while: ({ reason }) => reason === "saturated", schedule: Schedule.spaced("50 millis") })

const keyOf = (decided: Decided): CommandKey => ({
  principalId: decided.principal.id,
  commandId: decided.commandId,
  streamId: decided.streamId
})

const decide = (
  principal: Principal,
  commandId: CommandId,
  command: Parameters<typeof decideCommand>[1],
  before: StoredAggregate | null,
  streamId: StreamId,
  number = 0
): Decided => {
  const { events, state, visibilities } = Result.getOrThrow(
    decideCommand(before?.state ?? null, command, { principal, commandId, number })
  )
  const decidedVersion = before?.version ?? StreamVersion.make(0)
  const version = StreamVersion.make(decidedVersion + events.length)
  const answer: CommandAccepted = { commandId, streamId, version, number, replayed: false }
  return {
    principal,
    commandId,
    fingerprint: `${command._tag} ${commandId}`,
    answer,
    streamType: "ticket",
    streamId,
    decidedVersion,
    state,
    events: events.flatMap((event, index) => {
      const visibility = visibilities[index]
      return visibility === undefined ? [] : [{ eventId: EventId.make(randomUUID()), event, visibility }]
    }),
    correlationId: CorrelationId.make(commandId),
    causationId: null,
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    occurredAt: DateTime.makeUnsafe("2026-03-01T12:00:00.123Z")
  }
}

const opening = (number = 1, body = "It prints\n\tempty pages: ß 漢字 😀 \\u0041") => {
  const commandId = newId()
  return decide(
    customer,
    commandId,
    { _tag: "OpenTicket", subject: "Printer", body },
    nobody,
    StreamId.make(commandId),
    number
  )
}

const assigning = (before: StoredAggregate, streamId: StreamId, assignee: string) =>
  decide(
    agent,
    newId(),
    { _tag: "AssignTicket", ticketId: TicketId.make(streamId), assigneeId: PrincipalId.make(assignee) },
    before,
    streamId
  )

const opened = Effect.gen(function* () {
  const commands = yield* CommandStore
  const ticket = opening()
  expect(yield* commands.append([ticket])).toEqual(["appended"])
  const [known] = yield* commands.load([keyOf(ticket)])
  if (known?.aggregate == null) return yield* Effect.die("the ticket is not there")
  return { ticket, aggregate: known.aggregate }
})

it.layer(store, { excludeTestServices: true })("CommandStore", (it) => {
  it.effect("knows nothing of what never was", () =>
    Effect.gen(function* () {
      const commands = yield* CommandStore
      expect(yield* commands.load([keyOf(opening())])).toEqual([{ receipt: null, aggregate: null }])
    })
  )

  it.effect("gives back state, receipt and events exactly as they were decided", () =>
    Effect.gen(function* () {
      const { ticket, aggregate } = yield* opened
      const [known] = yield* CommandStore.use((commands) => commands.load([keyOf(ticket)]))
      expect(known?.receipt).toEqual({ fingerprint: ticket.fingerprint, answer: ticket.answer })
      expect(aggregate).toEqual({ streamType: "ticket", version: 1, state: ticket.state })
      const sql = yield* PgClient.PgClient
      const [event] =
        yield* sql`SELECT type, schema_version, data, principal, visibility, stream_version, command_id::text,
        correlation_id::text, causation_id, traceparent, occurred_at, position FROM core.event_log WHERE stream_id = ${ticket.streamId}`
      const { _tag, ...data } = ticket.events[0]?.event ?? { _tag: "" }
      expect(event).toEqual({
        type: _tag,
        schema_version: 1,
        data,
        principal: customer,
        visibility: ticket.events[0]?.visibility,
        stream_version: 1,
        command_id: ticket.commandId,
        correlation_id: ticket.correlationId,
        causation_id: null,
        traceparent: ticket.traceparent,
        occurred_at: new Date("2026-03-01T12:00:00.123Z"),
        position: null
      })
    })
  )

  it.effect("repeated, it happens once and the receipt says so", () =>
    Effect.gen(function* () {
      const commands = yield* CommandStore
      const { aggregate, ticket } = yield* opened
      expect(yield* commands.append([ticket])).toEqual(["version_moved"])
      const silent = decide(
        agent,
        newId(),
        { _tag: "ChangeTicketStatus", ticketId: TicketId.make(ticket.streamId), status: "new" },
        aggregate,
        ticket.streamId
      )
      expect(silent.events).toEqual([])
      expect(yield* commands.append([silent])).toEqual(["appended"])
      expect(yield* commands.append([silent])).toEqual(["receipt_existed"])
    })
  )

  it.effect("another principal's receipt under the same id is not in the way", () =>
    Effect.gen(function* () {
      const commands = yield* CommandStore
      const { aggregate, ticket } = yield* opened
      const note = { _tag: "AddNote", ticketId: TicketId.make(ticket.streamId), body: "same id" } as const
      const decided = decide(agent, ticket.commandId, note, aggregate, ticket.streamId)
      expect(yield* commands.append([decided])).toEqual(["appended"])
    })
  )

  it.effect("a receipt of this id for another stream writes nothing", () =>
    Effect.gen(function* () {
      const commands = yield* CommandStore
      const first = yield* opened
      const second = yield* opened
      const claim = assigning(first.aggregate, first.ticket.streamId, "agent-2")
      const reused: Decided = {
        ...assigning(second.aggregate, second.ticket.streamId, "agent-2"),
        commandId: claim.commandId
      }
      expect(yield* commands.append([claim])).toEqual(["appended"])
      expect(yield* commands.append([reused])).toEqual(["receipt_existed"])
      const [known] = yield* commands.load([keyOf(reused)])
      expect(known?.aggregate?.version).toBe(1)
      expect(known?.receipt?.fingerprint).toBe(claim.fingerprint)
    })
  )

  it.effect("of two decisions on one version exactly one wins", () =>
    Effect.gen(function* () {
      const commands = yield* CommandStore
      const { aggregate, ticket } = yield* opened
      const rivals = Array.from({ length: 8 }, (_, n) => assigning(aggregate, ticket.streamId, `agent-${n + 10}`))
      const append = (rival: Decided) => whenNotBusy(commands.append([rival]))
      const outcomes = yield* Effect.forEach(rivals, append, { concurrency: "unbounded" })
      expect(outcomes.flat().toSorted()).toEqual(["appended", ...Array.from({ length: 7 }, () => "version_moved")])
      const [known] = yield* commands.load([keyOf(ticket)])
      expect(known?.aggregate?.version).toBe(3)
    })
  )

  it.effect("a batch tells each command's own outcome and writes only what was appended", () =>
    Effect.gen(function* () {
      const commands = yield* CommandStore
      const moved = yield* opened
      const repeated = yield* opened
      const fresh = opening(77)
      yield* commands.append([assigning(moved.aggregate, moved.ticket.streamId, "agent-3")])
      const silent = decide(
        agent,
        newId(),
        { _tag: "ChangeTicketStatus", ticketId: TicketId.make(repeated.ticket.streamId), status: "new" },
        repeated.aggregate,
        repeated.ticket.streamId
      )
      yield* commands.append([silent])
      const late = assigning(moved.aggregate, moved.ticket.streamId, "agent-4")
      expect(yield* commands.append([late, silent, fresh])).toEqual(["version_moved", "receipt_existed", "appended"])
      const known = yield* commands.load([keyOf(late), keyOf(fresh)])
      expect(known[0]?.receipt).toBeNull()
      expect(known[1]?.aggregate?.version).toBe(1)
    })
  )

  it.effect("a command that the server will not have does not take its neighbours with it", () =>
    Effect.gen(function* () {
      const commands = yield* CommandStore
      const bad: Decided = { ...opening(), traceparent: "a\u0000b" }
      const good = opening()
      expect(yield* commands.append([bad, good])).toEqual(["refused", "appended"])
    })
  )

  it.effect("a held ticket does not take its neighbours with it", () =>
    Effect.gen(function* () {
      const commands = yield* CommandStore
      const sql = yield* PgClient.PgClient
      const held = yield* opened
      const free = yield* opened
      const isHeld = yield* Deferred.make<void>()
      const hold = sql`SELECT 1 FROM core.aggregate WHERE stream_id = ${held.ticket.streamId} FOR UPDATE`
      const holder = yield* transaction(
        Effect.andThen(hold, Effect.andThen(Deferred.succeed(isHeld, undefined), Effect.never))
      ).pipe(Effect.forkChild)
      yield* Deferred.await(isHeld)
      const outcomes = yield* commands.append([
        assigning(held.aggregate, held.ticket.streamId, "agent-5"),
        assigning(free.aggregate, free.ticket.streamId, "agent-5")
      ])
      yield* Fiber.interrupt(holder)
      expect(outcomes).toEqual(["busy", "appended"])
    })
  )

  it.effect("two processes that create one aggregate at once: one wins, the other is told", () =>
    Effect.gen(function* () {
      const commands = yield* CommandStore
      const mine = opening()
      const theirs: Decided = { ...mine, principal: agent }
      const outcomes = yield* Effect.all([commands.append([mine]), commands.append([theirs])], { concurrency: 2 })
      expect(outcomes.flat().toSorted()).toEqual(["appended", "version_moved"])
    })
  )

  it.effect("64 opened at once each have their event, state and a number of their own", () =>
    Effect.gen(function* () {
      const commands = yield* CommandStore
      const openings = yield* Effect.forEach(
        Array.from({ length: 64 }),
        () => Effect.map(whenNotBusy(commands.takeNumbers(1)), ([number]) => opening(number)),
        { concurrency: "unbounded" }
      )
      const batches = [0, 16, 32, 48].map((start) => openings.slice(start, start + 16))
      const outcomes = yield* Effect.forEach(batches, commands.append, { concurrency: "unbounded" })
      expect(outcomes.flat()).toEqual(openings.map(() => "appended"))
      expect(new Set(openings.map((one) => one.answer.number)).size).toBe(64)
      const known = yield* commands.load(openings.map(keyOf))
      expect(known.map((one) => one.aggregate?.version)).toEqual(openings.map(() => 1))
    })
  )

  it.effect("numbers that nobody got are the next to be given", () =>
    Effect.gen(function* () {
      const commands = yield* CommandStore
      const taken = yield* commands.takeNumbers(5)
      yield* commands.giveBackNumbers(taken)
      expect(yield* commands.takeNumbers(5)).toEqual(taken)
    })
  )

  it.effect("finds by key however large the tables are, even by a plan that was made while they were empty", () =>
    Effect.gen(function* () {
      const sql = yield* PgClient.PgClient
      const plans = yield* transaction(
        Effect.gen(function* () {
          yield* sql.unsafe("SET LOCAL plan_cache_mode = force_generic_plan")
          yield* sql.unsafe(`PREPARE load_plan(jsonb) AS ${CommandStorePostgres.loadStatement}`)
          yield* sql.unsafe(`PREPARE append_plan(jsonb, jsonb, float8, int) AS ${CommandStorePostgres.appendStatement}`)
          const load = yield* sql.unsafe("EXPLAIN EXECUTE load_plan('[]')")
          const append = yield* sql.unsafe("EXPLAIN EXECUTE append_plan('[]', '[]', 1, 1)")
          yield* sql.unsafe("DEALLOCATE load_plan")
          yield* sql.unsafe("DEALLOCATE append_plan")
          return JSON.stringify([load, append])
        })
      )
      expect(plans).toContain("aggregate_pkey")
      expect(plans).toContain("command_receipt_pkey")
      expect(plans).not.toContain("Seq Scan")
    })
  )

  it.effect("receipts whose time is over are swept, and only those", () =>
    Effect.gen(function* () {
      const commands = yield* CommandStore
      const sql = yield* PgClient.PgClient
      const { ticket } = yield* opened
      yield* sql`UPDATE core.command_receipt SET expires_at = now() - interval '1 second' WHERE command_id = ${ticket.commandId}`
      expect(yield* commands.sweepReceipts(100)).toBe(1)
      expect(yield* commands.sweepReceipts(100)).toBe(0)
    })
  )
})
