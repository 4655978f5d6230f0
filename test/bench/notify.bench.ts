// From a command's acknowledgement to the subscriber who is told of it, against a whole desk on real servers at 100 commands a second, and which
// hop takes how much of that. Nothing is measured inside of the desk: an event is positioned once the log says so to a reader of its own,
// published once RabbitMQ has handed it to a plain queue, and at the gateway once a second reader of the change feed has it.
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { Broker } from "@holdfast/broker/Broker"
import * as BrokerRabbitMq from "@holdfast/broker/BrokerRabbitMq"
import { makeTopology } from "@holdfast/broker/Topology"
import { decodeEnvelope } from "@holdfast/contracts/CloudEvent"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { Database } from "@holdfast/database/Database"
import { EventLog } from "@holdfast/database/EventLog"
import * as EventLogPostgres from "@holdfast/database/EventLogPostgres"
import { freshDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { Effect, Layer, Option, Redacted, Result, type Scope, Stream } from "effect"
import { Connection } from "rabbitmq-client"
import { type BenchDesk, startBenchDesk } from "./BenchDesk.ts"
import type { Notified, NotifyOrder } from "./notify.load.ts"
import { isTiny, quantile, rounded, table, writeSection } from "./Report.ts"

const perSecond = 100
const warmUp = isTiny ? 20 : 500
const counted = isTiny ? 40 : 3_000
/** Each may send 1 200 commands a minute. */
const agents = 10

/** When the event at each position was first seen there, on the wall clock in milliseconds. */
type Seen = Map<number, number>

const now = (): number => performance.timeOrigin + performance.now()

/** Positions come in order, so all up to one have been given by then. */
const seePositioned = (seen: Seen) =>
  Effect.gen(function* () {
    const log = yield* EventLog
    let last = 0
    yield* log.wakeups.pipe(
      Stream.runForEach(() =>
        Effect.map(log.lastPosition, (position) => {
          const at = now()
          while (last < position) seen.set(++last, at)
        })
      )
    )
  })

const seePublished = (url: string, seen: Seen) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const connection = new Connection(url)
      const { events } = makeTopology("holdfast")
      const consumer = connection.createConsumer(
        { queueOptions: { exclusive: true }, queueBindings: [{ exchange: events, routingKey: "#" }], noAck: true },
        async ({ body }) => {
          const at = now()
          const envelope = decodeEnvelope(Buffer.isBuffer(body) ? body.toString("utf8") : "")
          if (Result.isSuccess(envelope)) seen.set(envelope.success.position, at)
        }
      )
      await once(consumer, "ready")
      return { connection, consumer }
    }),
    ({ connection, consumer }) =>
      Effect.promise(async () => {
        await consumer.close()
        await connection.close()
      })
  )

const seeAtGateway = (seen: Seen) =>
  Effect.gen(function* () {
    const broker = yield* Broker
    yield* broker.changes(Option.none()).pipe(
      Stream.runForEachArray((changes) =>
        Effect.sync(() => {
          const at = now()
          for (const change of changes) if (typeof change !== "string") seen.set(change.position, at)
        })
      )
    )
  })

const readersOn = (database: Redacted.Redacted<string>, rabbitMq: string) =>
  Layer.merge(
    EventLogPostgres.layer.pipe(
      Layer.provideMerge(Database.layer),
      Layer.provideMerge(ClientPostgres.layer({ url: database, applicationName: "bench" }))
    ),
    BrokerRabbitMq.layer({ url: Redacted.make(rabbitMq), applicationName: "bench" })
  ).pipe(Layer.provide(Health.layer))

const load = async ({ agents: [watcher = "", ...tokens], desk }: BenchDesk, count: number) => {
  const child: ChildProcess = fork(join(import.meta.dirname, "notify.load.ts"))
  const order: NotifyOrder = {
    commandUrl: desk.url.command,
    realtimeUrl: desk.url.realtime,
    tokens,
    watcher,
    perSecond,
    count
  }
  const answer = new Promise<ReadonlyArray<Notified>>((resolve, reject) => {
    child.once("message", (notified: ReadonlyArray<Notified>) => resolve(notified))
    child.once("exit", () => reject(new Error("the load ended without a result")))
  })
  child.send(order)
  return await answer
}

interface Row {
  readonly acknowledged: number
  readonly positioned: number
  readonly published: number
  readonly atGateway: number
  readonly notified: number
}

const run: Effect.Effect<ReadonlyArray<Row>, unknown, Scope.Scope> = Effect.gen(function* () {
  const database = yield* freshDatabase(Effect.void)
  const rabbitMq = process.env.HOLDFAST_TEST_RABBITMQ_URL ?? ""
  const people = { agents: agents + 1, customers: 0 }
  const bench = yield* Effect.acquireRelease(
    Effect.promise(() => startBenchDesk(people, { HOLDFAST_DATABASE_URL: Redacted.value(database) })),
    ({ desk }) => Effect.promise(() => desk.stop())
  )
  const [positioned, published, atGateway]: readonly [Seen, Seen, Seen] = [new Map(), new Map(), new Map()]
  const readers = yield* Layer.build(readersOn(database, rabbitMq))
  yield* seePublished(rabbitMq, published)
  yield* Effect.forkScoped(Effect.provide(seePositioned(positioned), readers))
  yield* Effect.forkScoped(Effect.provide(seeAtGateway(atGateway), readers))
  yield* Effect.promise(() => load(bench, warmUp))
  const notified = yield* Effect.promise(() => load(bench, counted))
  return notified.flatMap(({ acknowledgedAt, notifiedAt, position }) => {
    const [one, two, three] = [positioned.get(position), published.get(position), atGateway.get(position)]
    if (one === undefined || two === undefined || three === undefined) return []
    return [{ acknowledged: acknowledgedAt, positioned: one, published: two, atGateway: three, notified: notifiedAt }]
  })
})

const mean = (values: ReadonlyArray<number>): number => values.reduce((sum, value) => sum + value, 0) / values.length

const report = (rows: ReadonlyArray<Row>): void => {
  const delay = (to: keyof Row, from: keyof Row) => rows.map((row) => row[to] - row[from])
  const whole = mean(delay("notified", "acknowledged"))
  const hop = (name: string, to: keyof Row, from: keyof Row) => {
    const delays = delay(to, from)
    const share = Math.round((mean(delays) / whole) * 100)
    return [name, rounded(quantile(delays, 0.5)), rounded(quantile(delays, 0.99)), rounded(mean(delays)), share]
  }
  const hops = [
    hop("acknowledged → positioned", "positioned", "acknowledged"),
    hop("positioned → published: a plain queue has it", "published", "positioned"),
    hop("published → a reader of the change feed has it", "atGateway", "published"),
    hop("there → the subscriber has it", "notified", "atGateway"),
    hop("acknowledged → the subscriber has it", "notified", "acknowledged")
  ]
  writeSection({
    name: "notify",
    title: "Realtime: from a command's acknowledgement to its subscriber",
    body: `${perSecond} tickets are opened a second over REST, whatever the desk does; a subscriber of all tickets is told of each. A whole desk by
\`holdfast up\` on PostgreSQL, RabbitMQ and Redis, ${rows.length} commands of ${counted}, after ${warmUp} that are not counted. Hops are seen from outside: the log's
last position asked for at each of its notifications, a queue of its own bound to the exchange, and a second reader of the change feed in
the gateway's place. A position may be given before the acknowledgement has reached the client; such a hop counts below zero. Shares are
of the means.

${table(["hop", "p50 (ms)", "p99 (ms)", "mean (ms)", "share (%)"], hops)}`
  })
}

report(await Effect.runPromise(Effect.scoped(run)))
process.exit(0)
