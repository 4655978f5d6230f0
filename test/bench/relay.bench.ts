// The relay, from committed events without a position to confirmed and marked, against raw publisher confirms of the same bytes on the same
// server in the same run: to one quorum queue (the ceiling), and to the desk's whole topology (what fan-out to every group costs
// the server, whoever publishes). The three alternate, so that what the machine does meanwhile hits all of them.
import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { Session } from "node:inspector/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as BrokerRabbitMq from "@holdfast/broker/BrokerRabbitMq"
import { makeTopology, partitionOf } from "@holdfast/broker/Topology"
import { encodeEnvelope, mediaType } from "@holdfast/contracts/CloudEvent"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position, StreamId } from "@holdfast/contracts/Ids"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { Database } from "@holdfast/database/Database"
import { EventLog } from "@holdfast/database/EventLog"
import * as EventLogPostgres from "@holdfast/database/EventLogPostgres"
import { runRelay } from "@holdfast/events/Relay"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { Relay as Limits } from "@holdfast/resilience/Limits"
import { envelopeOf } from "@holdfast/testkit/Envelopes"
import { commit } from "@holdfast/testkit/EventRows"
import { Clock, Config, Effect, Layer, Redacted, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { Connection } from "rabbitmq-client"
import { type Naming, profileParts } from "./Profile.ts"
import { median, rounded, table, writeSection } from "./Report.ts"

const runs = 3
const events = 10_000
const streams = Array.from({ length: 100 }, () => StreamId.make(randomUUID()))
const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"))
const prefix = `bench-${randomUUID()}`
const topology = makeTopology(prefix)
const text = "It prints empty pages since this morning. ".repeat(5)

const envelopes = Array.from({ length: events }, (_, index): Envelope => {
  const streamId = streams[index % streams.length] ?? StreamId.make(randomUUID())
  const envelope = envelopeOf(streamId, "a", Math.floor(index / streams.length) + 1, index + 1)
  const { event } = envelope
  return event._tag === "TicketReplied" ? { ...envelope, event: { ...event, body: text } } : envelope
})
const bodies = envelopes.map((envelope) => ({
  streamId: envelope.streamId,
  bytes: Buffer.from(encodeEnvelope(envelope))
}))

const perSecond = (startedMs: number, endedMs: number) => (events * 1000) / (endedMs - startedMs)

/** The whole relay on a database of its own: the log is full and nothing has a position yet. */
const relayed = (rabbitMq: Redacted.Redacted<string>, profile: boolean) =>
  Effect.gen(function* () {
    const url = yield* migratedDatabase
    const core = EventLogPostgres.layer.pipe(
      Layer.provideMerge(Database.layer),
      Layer.provideMerge(ClientPostgres.layer({ url, applicationName: "bench" }))
    )
    const broker = BrokerRabbitMq.layer({ url: rabbitMq, applicationName: "bench", prefix })
    const context = yield* Layer.build(Layer.merge(core, broker).pipe(Layer.provide(Health.layer)))
    return yield* Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const log = yield* EventLog
      yield* sql.withTransaction(Effect.forEach(envelopes, commit, { discard: true }))
      yield* sql`ANALYZE core.event_log`
      const session = new Session()
      if (profile) yield* Effect.promise(() => startProfile(session))
      const started = yield* Clock.currentTimeMillis
      yield* Effect.forkScoped(runRelay)
      yield* Effect.repeat(log.published, {
        until: (position) => position === Position.make(events),
        schedule: Schedule.spaced("5 millis")
      })
      const ended = yield* Clock.currentTimeMillis
      if (profile) yield* Effect.promise(() => endProfile(session))
      return perSecond(started, ended)
    }).pipe(Effect.provide(context))
  }).pipe(Effect.scoped)

const startProfile = async (session: Session) => {
  session.connect()
  await session.post("Profiler.enable")
  await session.post("Profiler.start")
}

const endProfile = async (session: Session) => {
  const { profile } = await session.post("Profiler.stop")
  writeFileSync(join(folder, "relay.cpuprofile"), JSON.stringify(profile))
  session.disconnect()
}

/** As many confirms in flight as the relay has, and the next ones as soon as these are there. */
const raw = async (connection: Connection, exchange: string, routingKey: (streamId: StreamId) => string) => {
  const channel = await connection.acquire()
  await channel.confirmSelect()
  const started = performance.now()
  for (let from = 0; from < bodies.length; from += Limits.batchEventsMax) {
    const batch = bodies.slice(from, from + Limits.batchEventsMax)
    await Promise.all(
      batch.map(({ bytes, streamId }) =>
        channel.basicPublish(
          { exchange, routingKey: routingKey(streamId), durable: true, contentType: mediaType },
          bytes
        )
      )
    )
  }
  const ended = performance.now()
  await channel.close()
  return perSecond(started, ended)
}

const withConnection = <A>(url: string, use: (connection: Connection) => Promise<A>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => new Connection(url)),
    (connection) => Effect.promise(() => use(connection)),
    (connection) => Effect.promise(() => connection.close())
  )

const queue = `${prefix}.raw`

/** Empties what the run before left, so that each finds the same queues. */
const prepare = async (connection: Connection) => {
  await clear(connection)
  await connection.queueDeclare({ queue, durable: true, arguments: { "x-queue-type": "quorum" } })
  const channel = await connection.acquire()
  await topology.declare(channel)
  await channel.close()
}

const clear = async (connection: Connection) => {
  for (const name of [queue, ...topology.names.queues]) await connection.queueDelete({ queue: name })
  for (const exchange of topology.names.exchanges) await connection.exchangeDelete({ exchange })
}

const naming: Naming = [
  ["PostgreSQL driver", /sql-pg/],
  ["RabbitMQ driver", /rabbitmq-client/],
  ["schema: rows to envelopes", /effect.*(Schema|schema)/],
  ["Effect runtime", /node_modules\/effect\//],
  ["sockets and streams of Node", /^node:/],
  ["CloudEvents and contracts", /contracts/],
  ["the relay and its adapters", /packages\//]
]

const bench = Effect.gen(function* () {
  const url = yield* Config.Redacted("HOLDFAST_TEST_RABBITMQ_URL")
  const text = Redacted.value(url)
  const rates = { queue: [] as number[], topology: [] as number[], relay: [] as number[] }
  for (let run = 0; run < runs; run++) {
    yield* withConnection(text, prepare)
    rates.queue.push(yield* withConnection(text, (connection) => raw(connection, "", () => queue)))
    rates.topology.push(
      yield* withConnection(text, (connection) =>
        raw(connection, topology.events, (streamId) => `ticket.TicketReplied.${partitionOf(streamId)}`)
      )
    )
    yield* withConnection(text, prepare)
    rates.relay.push(yield* relayed(url, run === runs - 1))
    console.log(run, rates.queue.at(-1), rates.topology.at(-1), rates.relay.at(-1))
  }
  yield* withConnection(text, clear)
  report(rates)
})

const report = (rates: { queue: Array<number>; topology: Array<number>; relay: Array<number> }) => {
  const [one, all, relay] = [median(rates.queue), median(rates.topology), median(rates.relay)]
  const row = (name: string, rate: number) => [name, Math.round(rate), rounded(rate / one), rounded(rate / all)]
  const parts = profileParts(folder, naming).slice(0, 9)
  writeSection({
    name: "relay",
    title: "Relay against raw publisher confirms",
    body: `${events} events of ${bodies[0]?.bytes.byteLength ?? 0} bytes, ${Limits.batchEventsMax} confirms in flight, median of ${runs}, alternating. The relay reads events that have no position yet, gives them theirs, publishes them with confirms to six groups and the change feed, and moves its cursor.

${table(
  ["", "events/s", "of one quorum queue", "of the same topology"],
  [
    row("raw confirms, one quorum queue (the ceiling)", one),
    row("raw confirms, the desk's topology", all),
    row("relay", relay)
  ]
)}

The topology alone costs the ratio in the second row: each event is written to six quorum queues and a stream instead of one queue. Where the relay's own processor time goes:

${table(
  ["part", "share"],
  parts.map(({ name, share }) => [name, `${Math.round(share * 100)} %`])
)}`
  })
}

try {
  await Effect.runPromise(Effect.scoped(bench))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
