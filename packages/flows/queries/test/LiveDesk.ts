// A desk whose read database and cache are real servers, filled from a history and reached through proxies that the test breaks.
import { Cache } from "@holdfast/cache/Cache"
import * as CacheRedis from "@holdfast/cache/CacheRedis"
import { FileView } from "@holdfast/contracts/attachment/Views"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { type Principal, toPersonRef } from "@holdfast/contracts/Principal"
import { MessageView, TicketView } from "@holdfast/contracts/ticket/Views"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { ReadDatabase } from "@holdfast/database/Database"
import { type ReadChanges, ReadProjection } from "@holdfast/database/ReadTables"
import * as ReadTablesPostgres from "@holdfast/database/ReadTablesPostgres"
import * as ReadTablesProjection from "@holdfast/database/ReadTablesProjection"
import { applyFile } from "@holdfast/domain/attachment/FileView"
import { allWords } from "@holdfast/domain/ticket/SearchWords"
import { applyTicket, messageOf } from "@holdfast/domain/ticket/TicketView"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { type FaultProxy, faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { Effect, Layer, Redacted, Schedule, Schema, Tracer } from "effect"
import { layer, QueryExecutor } from "../src/graphql/Execute.ts"
import { Reads } from "../src/Reads.ts"
import { fill } from "./Desk.ts"

export interface LiveDesk {
  readonly database: FaultProxy
  readonly redis: FaultProxy
  /** The text of every statement so far. */
  readonly statements: ReadonlyArray<string>
  readonly ask: Ask
  /** Asked until the read database itself answers: the first answers of a cold pool may come too late on a busy machine. */
  readonly askLive: Ask
}

type Ask = (viewer: Principal, query: string, variables?: Readonly<Record<string, unknown>>) => Effect.Effect<Told>

/** A response, as far as these tests look. */
export interface Told {
  readonly data?: unknown
  readonly errors?: ReadonlyArray<{ readonly extensions?: unknown }>
  readonly extensions?: { readonly freshness?: { readonly source: string; readonly position: number } | null }
}

const redisUrl = () => {
  const url = process.env.HOLDFAST_TEST_REDIS_URL
  if (url === undefined)
    throw new Error("HOLDFAST_TEST_REDIS_URL is not set: run `npm test`, which starts the private servers")
  return url
}

export const liveDesk = (history: ReadonlyArray<Envelope>) =>
  Effect.gen(function* () {
    const url = yield* migratedDatabase
    const database = yield* faultProxy(targetOf(Redacted.value(url)))
    const redis = yield* faultProxy(targetOf(redisUrl()))
    const client = ClientPostgres.layerRead({
      url: Redacted.make(database.through(Redacted.value(url))),
      applicationName: "test"
    })
    const tables = Layer.mergeAll(ReadTablesPostgres.layer, ReadTablesProjection.layer).pipe(
      Layer.provide(ReadDatabase.layer),
      Layer.provide(client)
    )
    const keyPrefix = `test-${crypto.randomUUID()}`
    const cache = CacheRedis.layer({ url: Redacted.make(redis.through(redisUrl())), keyPrefix })
    const both = Layer.merge(tables, cache).pipe(Layer.provideMerge(Health.layer))
    const statements: Array<string> = []
    const services = yield* Layer.build(
      layer({ downloads: null }).pipe(Layer.provide(Reads.layer), Layer.provideMerge(both))
    ).pipe(Effect.withTracer(Tracer.make({ span: (options) => new StatementSpan(options, statements) })))
    const applied = history.map(({ position }) => ({ position, occurredAtMs: 1_000 }))
    yield* ReadProjection.use((projection) => projection.save(changesOf(history), { applied, nowMs: 1_000 })).pipe(
      Effect.provide(services)
    )
    yield* Cache.use((held) => fill(held, history)).pipe(Effect.provide(services))
    const ask: Ask = (viewer, query, variables = {}) =>
      QueryExecutor.use((one) =>
        one.execute(viewer, { query, variables, operationName: null, persistedHash: null })
      ).pipe(
        Effect.provide(services),
        Effect.map(({ response }): Told => JSON.parse(JSON.stringify(response)))
      )
    const askLive: Ask = (viewer, query, variables) =>
      Effect.repeat(ask(viewer, query, variables), {
        until: ({ extensions }) => extensions?.freshness?.source === "live",
        schedule: Schedule.spaced("50 millis")
      })
    return { ask, askLive, database, redis, statements } satisfies LiveDesk
  })

/** Notes the statement that it spans, if it spans one. */
class StatementSpan extends Tracer.NativeSpan {
  readonly #statements: Array<string>

  constructor(options: ConstructorParameters<typeof Tracer.NativeSpan>[0], statements: Array<string>) {
    super(options)
    this.#statements = statements
  }

  override attribute(key: string, value: unknown): void {
    if (key === "db.query.text") this.#statements.push(String(value))
    super.attribute(key, value)
  }
}

/** The views of a history, folded by the domain. */
const changesOf = (history: ReadonlyArray<Envelope>): ReadChanges => {
  const streams = [...Map.groupBy(history, ({ streamId }) => streamId).values()]
  const views = streams.map((events) => ({ events, view: events.reduce<TicketView | null>(applyTicket, null) }))
  const files = streams.map((events) => events.reduce<FileView | null>(applyFile, null)).filter((file) => file !== null)
  const people = new Map(
    history.map(({ position, principal }) => [
      principal.id,
      { person: toPersonRef(principal), role: principal.role, position }
    ])
  )
  return {
    tickets: views.flatMap(({ view }) =>
      view === null ? [] : [{ ticket: Schema.encodeSync(TicketView)(view), subjectWords: allWords(view.subject) }]
    ),
    messages: views.flatMap(({ events, view }) =>
      events.flatMap((event) => {
        const message = messageOf(event)
        if (message === null || view === null) return []
        const words = [...allWords(view.subject), ...allWords(message.body)]
        return [{ message: Schema.encodeSync(MessageView)(message), requesterId: view.requester.id, words }]
      })
    ),
    files: files.map((file) => Schema.encodeSync(FileView)(file)),
    people: [...people.values()],
    notifications: [],
    notificationsSeen: []
  }
}
