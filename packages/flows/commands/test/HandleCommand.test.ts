// The command bus on a store in memory: who gets in, what happens once, and what is told when the store is away.
import { randomUUID } from "node:crypto"
import { expect, it } from "@effect/vitest"
import type { DeskCommand } from "@holdfast/contracts/Commands"
import { CommandId, CorrelationId, EventId, PrincipalId, StreamVersion, TicketId } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import type { AppendOutcome } from "@holdfast/database/CommandStore"
import { Commands } from "@holdfast/resilience/Limits"
import { Unavailable, type UnavailableReason } from "@holdfast/resilience/Unavailable"
import { Deferred, Effect, Fiber, Layer, Option } from "effect"
import { TestClock } from "effect/testing"
import * as HandleCommand from "../src/HandleCommand.ts"
import { makeStore, type StoreControl } from "./Store.fixture.ts"

const agent: Principal = { id: PrincipalId.make("agent-1"), role: "agent" }
const customer: Principal = { id: PrincipalId.make("customer-1"), role: "customer" }
const service: Principal = { id: PrincipalId.make("automation"), role: "service" }
const newId = () => CommandId.make(randomUUID())
const opening: DeskCommand = { _tag: "OpenTicket", subject: "Printer", body: "It is on fire." }

const issue = (
  command: DeskCommand,
  {
    commandId = newId(),
    expectedVersion,
    principal = agent
  }: { commandId?: CommandId; expectedVersion?: number; principal?: Principal } = {}
) =>
  CommandBus.use((bus) =>
    bus.execute({
      principal,
      command,
      causationId: Option.none(),
      meta: {
        commandId,
        ...(expectedVersion === undefined ? {} : { expectedVersion: StreamVersion.make(expectedVersion) })
      }
    })
  )

const open = (principal: Principal = customer) =>
  Effect.map(issue(opening, { principal }), ({ streamId }) => TicketId.make(streamId))

const away = (reason: UnavailableReason) =>
  Effect.fail(new Unavailable({ dependency: "database", reason, detail: "", retryAfterMs: 700 }))

const withStore = <A, E>(test: (control: StoreControl) => Effect.Effect<A, E, CommandBus>) => {
  const { control, layer } = makeStore()
  return test(control).pipe(Effect.provide(HandleCommand.layer.pipe(Layer.provide(layer))))
}

/** Holds every append until released. */
const heldAppends = (control: StoreControl) =>
  Effect.map(Effect.all([Deferred.make<void>(), Deferred.make<void>()]), ([reached, release]) => {
    control.beforeAppend = Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(release))
    return { reached: Deferred.await(reached), release: Deferred.succeed(release, undefined) }
  })

it.effect("an opened ticket takes its command's id, version 1 and a number", () =>
  withStore(() =>
    Effect.gen(function* () {
      const commandId = newId()
      const answer = yield* issue(opening, { commandId })
      expect(answer).toEqual({ commandId, streamId: commandId, version: 1, number: 1, replayed: false })
    })
  )
)

it.effect("the same command again gives the first answer, marked as a replay, and happens once", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const commandId = newId()
      const first = yield* issue(opening, { commandId })
      expect(yield* issue(opening, { commandId })).toEqual({ ...first, replayed: true })
      expect(control.events).toEqual(["TicketOpened"])
    })
  )
)

it.effect("a replay is answered even though the ticket has moved on", () =>
  withStore(() =>
    Effect.gen(function* () {
      const ticketId = yield* open()
      const commandId = newId()
      const claim: DeskCommand = { _tag: "ClaimTicket", ticketId }
      const first = yield* issue(claim, { commandId, expectedVersion: 1 })
      yield* issue({ _tag: "AddNote", ticketId, body: "on it" })
      expect(yield* issue(claim, { commandId, expectedVersion: 1 })).toEqual({ ...first, replayed: true })
    })
  )
)

it.effect("field order does not make another command, another value does", () =>
  withStore(() =>
    Effect.gen(function* () {
      const commandId = newId()
      yield* issue(opening, { commandId })
      const reordered: DeskCommand = { body: "It is on fire.", subject: "Printer", _tag: "OpenTicket" }
      expect((yield* issue(reordered, { commandId })).replayed).toBe(true)
      const error = yield* Effect.flip(issue({ ...opening, subject: "Other" }, { commandId }))
      expect(error).toMatchObject({ _tag: "CommandIdReused", commandId })
    })
  )
)

it.effect("the same id of another principal is another command", () =>
  withStore(() =>
    Effect.gen(function* () {
      const commandId = newId()
      const ticketId = yield* open()
      yield* issue({ _tag: "AddNote", ticketId, body: "mine" }, { commandId })
      const theirs = yield* issue(
        { _tag: "ReplyToTicket", ticketId, body: "theirs" },
        { commandId, principal: customer }
      )
      expect(theirs.replayed).toBe(false)
    })
  )
)

it.effect("what the role may not do is refused before anything else", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const ticketId = yield* open()
      const error = yield* Effect.flip(issue({ _tag: "AddNote", ticketId, body: "x" }, { principal: customer }))
      expect(error._tag).toBe("Forbidden")
      expect(control.batches.length).toBe(1)
    })
  )
)

it.effect("a refusal of the domain comes out as itself and leaves no receipt", () =>
  withStore(() =>
    Effect.gen(function* () {
      const commandId = newId()
      const missing: DeskCommand = { _tag: "ClaimTicket", ticketId: TicketId.make(newId()) }
      expect((yield* Effect.flip(issue(missing, { commandId })))._tag).toBe("TicketNotFound")
      expect((yield* issue(opening, { commandId })).replayed).toBe(false)
    })
  )
)

it.effect("another version than expected is a conflict that names both", () =>
  withStore(() =>
    Effect.gen(function* () {
      const ticketId = yield* open()
      const error = yield* Effect.flip(issue({ _tag: "ClaimTicket", ticketId }, { expectedVersion: 7 }))
      expect(error).toMatchObject({ _tag: "VersionConflict", expectedVersion: 7, actualVersion: 1 })
    })
  )
)

it.effect("an expected version of a ticket that is to be opened is a conflict", () =>
  withStore(() =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(issue(opening, { expectedVersion: 2 }))
      expect(error).toMatchObject({ _tag: "VersionConflict", actualVersion: 0 })
    })
  )
)

it.effect("of two agents who claim at once one is refused", () =>
  withStore(() =>
    Effect.gen(function* () {
      const ticketId = yield* open()
      const other: Principal = { id: PrincipalId.make("agent-2"), role: "agent" }
      const claims = [agent, other].map((principal) =>
        Effect.result(issue({ _tag: "ClaimTicket", ticketId }, { principal }))
      )
      const results = yield* Effect.all(claims, { concurrency: 2 })
      expect(results.map((result) => result._tag).toSorted()).toEqual(["Failure", "Success"])
    })
  )
)

it.effect("commands on one ticket go one after the other, in the order in which they came", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const ticketId = yield* open()
      const notes = Array.from({ length: 5 }, (_, n) => issue({ _tag: "AddNote", ticketId, body: `note ${n}` }))
      const answers = yield* Effect.all(notes, { concurrency: "unbounded" })
      expect(answers.map(({ version }) => version)).toEqual([2, 3, 4, 5, 6])
      expect(control.batches).toEqual([1, 1, 1, 1, 1, 1])
    })
  )
)

it.effect("what arrives while a batch is under way goes together in the next", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const held = yield* heldAppends(control)
      const first = yield* Effect.forkChild(issue(opening))
      yield* held.reached
      const rest = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: 70 }, () => issue(opening)),
          { concurrency: "unbounded" }
        )
      )
      yield* Effect.yieldNow
      yield* held.release
      yield* Fiber.join(first)
      yield* Fiber.join(rest)
      expect(Math.max(...control.batches)).toBe(Commands.batchMax)
      expect(control.batches.reduce((sum, size) => sum + size, 0)).toBe(71)
      expect(control.batches.length).toBeLessThanOrEqual(5)
    })
  )
)

it.effect("the same command while it is under way is told to come back", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const held = yield* heldAppends(control)
      const commandId = newId()
      const first = yield* Effect.forkChild(issue(opening, { commandId }))
      yield* held.reached
      const error = yield* Effect.flip(issue(opening, { commandId }))
      expect(error).toMatchObject({ _tag: "CommandInProgress", commandId })
      yield* held.release
      expect((yield* Fiber.join(first)).replayed).toBe(false)
    })
  )
)

it.effect("beyond the bound the answer is an immediate refusal", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const held = yield* heldAppends(control)
      const all = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: Commands.underWayMax }, () => issue(opening, { principal: service })),
          { concurrency: "unbounded" }
        )
      )
      yield* held.reached
      expect((yield* Effect.flip(issue(opening)))._tag).toBe("Overloaded")
      yield* held.release
      yield* Fiber.join(all)
      expect((yield* issue(opening)).version).toBe(1)
    })
  )
)

it.effect("a principal over budget is told when to come back; others and the desk itself are not", () =>
  withStore(() =>
    Effect.gen(function* () {
      const many = Array.from({ length: Commands.perPrincipalPerMinuteMax }, () =>
        Effect.result(issue({ _tag: "ClaimTicket", ticketId: TicketId.make(newId()) }))
      )
      yield* Effect.all(many, { discard: true })
      const error = yield* Effect.flip(issue(opening))
      expect(error._tag).toBe("RateLimited")
      expect((yield* issue(opening, { principal: customer })).version).toBe(1)
      expect((yield* issue(opening, { principal: service })).version).toBe(1)
      yield* TestClock.adjust("1 minute")
      expect((yield* issue(opening)).version).toBe(1)
    })
  )
)

for (const reason of ["breaker_open", "unreachable", "refused"] as const) {
  it.effect(`store away (${reason}): nothing was done, and the answer says when to repeat`, () =>
    withStore((control) =>
      Effect.gen(function* () {
        control.beforeAppend = away(reason)
        expect(yield* Effect.flip(issue(opening))).toMatchObject({ _tag: "WriteUnavailable", retryAfterMs: 700 })
      })
    )
  )
}

for (const reason of ["timeout", "connection_lost"] as const) {
  it.effect(`the answer to an append is lost (${reason}): the outcome is unknown, and repeating tells it`, () =>
    withStore((control) =>
      Effect.gen(function* () {
        const commandId = newId()
        control.afterAppend = away(reason)
        expect(yield* Effect.flip(issue(opening, { commandId }))).toMatchObject({ _tag: "OutcomeUnknown", commandId })
        control.afterAppend = Effect.void
        expect((yield* issue(opening, { commandId })).replayed).toBe(true)
        expect(control.events).toEqual(["TicketOpened"])
      })
    )
  )
}

it.effect("lost while loading: nothing was done", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const ticketId = yield* open()
      control.beforeLoad = away("connection_lost")
      expect((yield* Effect.flip(issue({ _tag: "ClaimTicket", ticketId })))._tag).toBe("WriteUnavailable")
    })
  )
)

it.effect("too many calls under way at the store is overload", () =>
  withStore((control) =>
    Effect.gen(function* () {
      control.beforeAppend = away("saturated")
      expect((yield* Effect.flip(issue(opening)))._tag).toBe("Overloaded")
    })
  )
)

it.effect("an append that hangs past the deadline is of unknown outcome", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const held = yield* heldAppends(control)
      const waiting = yield* Effect.forkChild(Effect.flip(issue(opening)))
      yield* held.reached
      yield* TestClock.adjust(Commands.requestDeadline)
      expect((yield* Fiber.join(waiting))._tag).toBe("OutcomeUnknown")
    })
  )
)

it.effect("a load that hangs past the deadline: nothing was done, and nothing is done later", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const ticketId = yield* open()
      const [reached, release] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      control.beforeLoad = Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(release))
      const waiting = yield* Effect.forkChild(Effect.flip(issue({ _tag: "ClaimTicket", ticketId })))
      yield* Deferred.await(reached)
      yield* TestClock.adjust(Commands.requestDeadline)
      expect((yield* Fiber.join(waiting))._tag).toBe("WriteUnavailable")
      yield* Deferred.succeed(release, undefined)
      control.beforeLoad = Effect.void
      yield* issue({ _tag: "AddNote", ticketId, body: "after" })
      expect(control.events).toEqual(["TicketOpened", "NoteAdded"])
    })
  )
)

it.effect("a version race is decided again on fresh state", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const ticketId = yield* open()
      control.beforeAppend = Effect.sync(() => {
        control.beforeAppend = Effect.void
        control.touch(ticketId)
      })
      expect((yield* issue({ _tag: "AddNote", ticketId, body: "late" })).version).toBe(3)
    })
  )
)

it.effect("a race that is lost again and again ends: nothing was done, come back soon", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const ticketId = yield* open()
      control.beforeAppend = Effect.sync(() => control.touch(ticketId))
      expect((yield* Effect.flip(issue({ _tag: "AddNote", ticketId, body: "late" })))._tag).toBe("WriteUnavailable")
      expect(control.batches.length).toBe(1 + 1 + Commands.conflictRetriesMax)
    })
  )
)

it.effect("with an expected version a lost race is a conflict", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const ticketId = yield* open()
      control.beforeAppend = Effect.sync(() => control.touch(ticketId))
      const error = yield* Effect.flip(issue({ _tag: "AddNote", ticketId, body: "late" }, { expectedVersion: 1 }))
      expect(error).toMatchObject({ _tag: "VersionConflict", expectedVersion: 1, actualVersion: 2 })
    })
  )
)

it.effect("what is written carries the given correlation id, the cause and the trace", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const correlationId = CorrelationId.make(randomUUID())
      const causationId = EventId.make(randomUUID())
      const meta = { commandId: newId(), correlationId }
      const bus = yield* CommandBus
      const span = yield* Effect.orDie(Effect.currentSpan)
      yield* bus.execute({ principal: agent, command: opening, causationId: Option.some(causationId), meta })
      const [decided] = control.decided
      expect(decided).toMatchObject({ correlationId, causationId, principal: agent })
      expect(decided?.traceparent).toMatch(new RegExp(`^00-${span.traceId}-[0-9a-f]{16}-01$`))
    }).pipe(Effect.withSpan("request"))
  )
)

it.effect("what nobody traces carries no trace", () =>
  withStore((control) =>
    Effect.andThen(
      Effect.withTracerEnabled(issue(opening), false),
      Effect.sync(() => expect(control.decided[0]?.traceparent).toBeNull())
    )
  )
)

it.effect("without a correlation id the command's own id is it", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const commandId = newId()
      yield* issue(opening, { commandId })
      expect(control.decided[0]).toMatchObject({ correlationId: commandId, causationId: null })
    })
  )
)

const numberOfNext = Effect.suspend(() => Effect.map(issue(opening), ({ number }) => number))

for (const reason of ["breaker_open", "saturated", "unreachable", "connect_timeout", "refused"] as const) {
  it.effect(`numbers of tickets that were refused in an outage (${reason}) go to the next who ask`, () =>
    withStore((control) =>
      Effect.gen(function* () {
        control.beforeAppend = away(reason)
        const refused = Array.from({ length: 20 }, () => Effect.flip(issue(opening)))
        yield* Effect.all(refused, { concurrency: 8 })
        control.beforeAppend = Effect.void
        expect([yield* numberOfNext, yield* numberOfNext]).toEqual([1, 2])
      })
    )
  )
}

for (const reason of ["timeout", "connection_lost"] as const) {
  it.effect(`the number of a ticket that may have been opened (${reason}) is never given to another`, () =>
    withStore((control) =>
      Effect.gen(function* () {
        control.beforeAppend = away(reason)
        yield* Effect.flip(issue(opening))
        control.beforeAppend = Effect.void
        expect(yield* numberOfNext).toBe(2)
      })
    )
  )
}

for (const outcome of ["busy", "refused", "version_moved", "receipt_existed"] as const) {
  it.effect(`a number that was not written (${outcome}) is used again`, () =>
    withStore((control) =>
      Effect.gen(function* () {
        control.outcome = () => outcome
        yield* Effect.exit(issue(opening))
        control.outcome = null
        expect(yield* numberOfNext).toBe(1)
      })
    )
  )
}

it.effect("a replayed or refused opening uses no number", () =>
  withStore(() =>
    Effect.gen(function* () {
      const commandId = newId()
      expect((yield* issue(opening, { commandId })).number).toBe(1)
      yield* issue(opening, { commandId })
      yield* Effect.flip(issue(opening, { expectedVersion: 2 }))
      expect(yield* numberOfNext).toBe(2)
    })
  )
)

it.effect("a database that goes away between the commands of a batch is told of each by itself", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const [done, lost, unsent] = [newId(), newId(), newId()]
      const gone = (reason: UnavailableReason) =>
        new Unavailable({ dependency: "database", reason, detail: "", retryAfterMs: 700 })
      const outcomes = new Map<string, AppendOutcome>([
        [done, "appended"],
        [lost, gone("connection_lost")],
        [unsent, gone("unreachable")]
      ])
      control.outcome = ({ commandId }) => outcomes.get(commandId) ?? "refused"
      const results = yield* Effect.all(
        [done, lost, unsent].map((commandId) => Effect.result(issue(opening, { commandId }))),
        { concurrency: "unbounded" }
      )
      expect(control.batches).toEqual([3])
      expect(results).toMatchObject([
        { success: { number: 1 } },
        { failure: { _tag: "OutcomeUnknown", commandId: lost } },
        { failure: { _tag: "WriteUnavailable" } }
      ])
      control.outcome = null
      expect([yield* numberOfNext, yield* numberOfNext]).toEqual([3, 4])
    })
  )
)

it.effect("a caller who left before the append leaves the number to others", () =>
  withStore((control) =>
    Effect.gen(function* () {
      const ticketId = yield* open()
      const [reached, release] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      control.beforeLoad = Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(release))
      const claim: DeskCommand = { _tag: "ClaimTicket", ticketId }
      const [claiming, opened] = [yield* Effect.forkChild(issue(claim)), yield* Effect.forkChild(issue(opening))]
      yield* Deferred.await(reached)
      yield* Fiber.interrupt(opened)
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(claiming)
      expect(yield* numberOfNext).toBe(2)
    })
  )
)
