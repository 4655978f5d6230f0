// The core database goes away in every way a network or a server can, under the command bus: what is refused, what is of unknown outcome,
// and that nothing acknowledged is lost, nothing happens twice and everything heals by itself.
import { randomUUID } from "node:crypto"
import { expect, it } from "@effect/vitest"
import { CommandId, PrincipalId } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import * as CommandStorePostgres from "@holdfast/database/CommandStorePostgres"
import { Database } from "@holdfast/database/Database"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { type FaultProxy, faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { Context, Duration, Effect, Layer, Option, Redacted, Result, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import * as HandleCommand from "../src/HandleCommand.ts"

class Line extends Context.Service<Line, FaultProxy>()("test/Line") {}

/** The same database past the fault, for looking at what really happened. */
class Truth extends Context.Service<Truth, SqlClient.SqlClient>()("test/Truth") {}

const desk = Layer.unwrap(
  Effect.gen(function* () {
    const url = yield* migratedDatabase
    const line = yield* faultProxy(targetOf(Redacted.value(url)))
    const throughLine = Redacted.make(line.through(Redacted.value(url)))
    return HandleCommand.layer.pipe(
      Layer.provide(CommandStorePostgres.layer),
      Layer.provide(Database.layer),
      Layer.provide(ClientPostgres.layer({ url: throughLine, applicationName: "outage-test" })),
      Layer.provideMerge(Health.layer),
      Layer.merge(Layer.succeed(Line, line)),
      Layer.merge(
        Layer.effect(Truth, Effect.map(SqlClient.SqlClient, Truth.of)).pipe(
          Layer.provide(Layer.fresh(ClientPostgres.layer({ url, applicationName: "outage-test-truth" })))
        )
      )
    )
  })
)

const agent: Principal = { id: PrincipalId.make("agent-1"), role: "agent" }
const newId = () => CommandId.make(randomUUID())

const open = (commandId: CommandId) =>
  CommandBus.use((bus) =>
    bus.execute({
      principal: agent,
      meta: { commandId },
      command: { _tag: "OpenTicket", subject: "Printer", body: "It is on fire." },
      causationId: Option.none()
    })
  )

/** Repeats the same command, as a client does, until it is answered. */
const openUntilAnswered = (commandId: CommandId, refusals: Array<string> = []) =>
  open(commandId).pipe(
    Effect.tapError(({ _tag }) => Effect.sync(() => refusals.push(_tag))),
    Effect.retry({ schedule: Schedule.spaced(Duration.millis(100)), times: 200 })
  )

const countOf = (commandId: CommandId) =>
  Truth.use(
    (sql) => sql<{ n: number }>`SELECT count(*)::int AS n FROM core.event_log WHERE command_id = ${commandId}`
  ).pipe(Effect.map(([row]) => row?.n))

const numbersTaken = Truth.use(
  (sql) => sql<{ taken: number }>`SELECT last_value::int AS taken FROM core.ticket_number`
).pipe(Effect.map(([row]) => row?.taken))

const databaseState = Health.use(({ all }) =>
  Effect.map(all, (known) => known.find(({ dependency }) => dependency === "database")?.state)
)

/** Sends commands until the breaker has opened, and gives back how each was refused. */
const untilDown = Effect.gen(function* () {
  const tags: Array<string> = []
  while ((yield* databaseState) !== "down") {
    const result = yield* Effect.result(open(newId()))
    tags.push(Result.isFailure(result) ? result.failure._tag : "accepted")
  }
  return tags
})

const faults = [
  { name: "refused", fault: { _tag: "Refuse" } },
  { name: "reset", fault: { _tag: "Reset" } },
  { name: "hung with the socket open", fault: { _tag: "Hang" } }
] as const

for (const { fault, name } of faults) {
  it.live(`database ${name}: refused in plain words, then at once, and healed by itself`, () =>
    Effect.gen(function* () {
      const line = yield* Line
      const before = yield* open(newId())
      yield* line.set(fault)
      const tags = yield* untilDown
      expect(tags).not.toContain("accepted")
      expect(tags.every((tag) => tag === "WriteUnavailable" || tag === "OutcomeUnknown")).toBe(true)
      const during = newId()
      const taken = yield* numbersTaken
      const refused = yield* Effect.flip(open(during))
      expect(refused).toMatchObject({ _tag: "WriteUnavailable" })
      expect(yield* countOf(during)).toBe(0)
      expect(yield* numbersTaken).toBe(taken)
      yield* line.set({ _tag: "Pass" })
      const repeats: Array<string> = []
      const after = yield* openUntilAnswered(during, repeats)
      expect(after.version).toBe(1)
      expect(yield* countOf(during)).toBe(1)
      // A number is skipped only where it was asked for and the answer did not come, or where its ticket may have been opened: at most one for each
      // attempt.
      expect(after.number).toBeLessThanOrEqual((before.number ?? 0) + tags.length + repeats.length + 1)
      // Nothing is left of the outage that the next ones would trip over: dead connections, or numbers that are missing.
      const next = yield* Effect.all(
        Array.from({ length: 40 }, () => open(newId())),
        { concurrency: "unbounded" }
      )
      expect(new Set(next.map(({ number }) => number)).size).toBe(40)
    }).pipe(Effect.provide(desk))
  )
}

it.live("the answer is lost after the commit: unknown, and repeating it tells that it was done, once", () =>
  Effect.gen(function* () {
    const line = yield* Line
    yield* open(newId())
    const commandId = newId()
    yield* line.set({ _tag: "LoseAnswers" })
    expect(yield* Effect.flip(open(commandId))).toMatchObject({ _tag: "OutcomeUnknown", commandId })
    yield* line.set({ _tag: "Pass" })
    const answer = yield* openUntilAnswered(commandId)
    expect(answer).toMatchObject({ streamId: commandId, version: 1, replayed: true })
    expect(yield* countOf(commandId)).toBe(1)
  }).pipe(Effect.provide(desk))
)

it.live("every backend killed under load: nothing acknowledged is lost and nothing happens twice", () =>
  Effect.gen(function* () {
    const truth = yield* Truth
    const ids = Array.from({ length: 200 }, newId)
    const kill = truth`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'outage-test'
      AND datname = current_database()`
    const answers = yield* Effect.forEach(
      ids,
      (id, index) => Effect.andThen(index % 25 === 24 ? Effect.asVoid(kill) : Effect.void, openUntilAnswered(id)),
      { concurrency: 16 }
    )
    expect(answers.map(({ streamId }) => streamId)).toEqual(ids)
    const rows = yield* truth<{
      n: number
    }>`SELECT count(*)::int AS n FROM core.event_log WHERE command_id = ANY(${ids}::uuid[])`
    expect(rows).toEqual([{ n: ids.length }])
  }).pipe(Effect.provide(desk))
)

it.live("a database that is away at the start is found once it is there", () =>
  Effect.gen(function* () {
    const line = yield* Line
    yield* line.set({ _tag: "Refuse" })
    expect((yield* Effect.flip(open(newId())))._tag).toBe("WriteUnavailable")
    yield* line.set({ _tag: "Pass" })
    expect((yield* openUntilAnswered(newId())).version).toBe(1)
  }).pipe(Effect.provide(desk))
)
