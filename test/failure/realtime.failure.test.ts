// The gateway on both real brokers, through a line that breaks: sockets stay, clients are told, and every event comes exactly once, in
// order, at whichever gateway a client asks.
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import { describe, expect, it } from "@effect/vitest"
import { Broker } from "@holdfast/broker/Broker"
import * as BrokerEmbedded from "@holdfast/broker/BrokerEmbedded"
import * as BrokerRabbitMq from "@holdfast/broker/BrokerRabbitMq"
import { Signals } from "@holdfast/broker/Signals"
import { makeTopology } from "@holdfast/broker/Topology"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { GraphqlExecutor } from "@holdfast/contracts/wire/GraphqlExecutor"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { Database } from "@holdfast/database/Database"
import * as EventLogPostgres from "@holdfast/database/EventLogPostgres"
import { Identity } from "@holdfast/identity/Identity"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Gateway, layer } from "@holdfast/realtime/Gateway"
import { takeUpgrades } from "@holdfast/realtime/Upgrade"
import { Health } from "@holdfast/resilience/Health"
import { envelopeOf, streamOf } from "@holdfast/testkit/Envelopes"
import { commitPositioned } from "@holdfast/testkit/EventRows"
import { type FaultProxy, faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { rabbitmqUrl } from "@holdfast/testkit/TestServers"
import { Array, Context, DateTime, Effect, Layer, Redacted, type Scope, Stream } from "effect"
import { type Client, createClient } from "graphql-ws"
import { Connection } from "rabbitmq-client"
import { WebSocket } from "ws"

/** A broker behind a line that a test may break, and a way to publish that does not use that line. */
interface Line {
  readonly proxy: FaultProxy
  readonly broker: Layer.Layer<Broker>
  readonly publish: (from: number, to: number) => Effect.Effect<void>
}

const events = (from: number, to: number) =>
  Array.map(
    Array.range(from, to),
    (position): Envelope => ({
      ...envelopeOf(streamOf("a"), "a", position, position),
      occurredAt: DateTime.makeUnsafe(Date.now())
    })
  )

const databaseOn = (url: Redacted.Redacted<string>) =>
  Layer.mergeAll(EventLogPostgres.layer, ConsumerCursors.layer).pipe(
    Layer.provideMerge(Database.layer),
    Layer.provideMerge(ClientPostgres.layer({ url, applicationName: "test" })),
    Layer.provideMerge(Health.layer)
  )

const embedded = Effect.gen(function* () {
  const url = yield* migratedDatabase
  const proxy = yield* faultProxy(targetOf(Redacted.value(url)))
  const direct = yield* Layer.build(databaseOn(url))
  const through = databaseOn(Redacted.make(proxy.through(Redacted.value(url))))
  const line: Line = {
    proxy,
    broker: Layer.orDie(Layer.provide(BrokerEmbedded.layer, through)),
    publish: (from, to) => Effect.orDie(Effect.provide(commitPositioned(events(from, to)), direct))
  }
  return line
})

const rabbitMq = Effect.gen(function* () {
  const url = yield* rabbitmqUrl
  const prefix = `test-${randomUUID()}`
  yield* Effect.addFinalizer(() => Effect.promise(() => removeDesk(url, prefix)))
  const proxy = yield* faultProxy(targetOf(url))
  const on = (at: string) =>
    BrokerRabbitMq.layer({ url: Redacted.make(at), applicationName: "test", prefix }).pipe(Layer.provide(Health.layer))
  const direct = Context.get(yield* Layer.build(Layer.fresh(on(url))), Broker)
  const line: Line = {
    proxy,
    broker: Layer.orDie(on(proxy.through(url))),
    publish: (from, to) => Effect.orDie(direct.publish(events(from, to)))
  }
  return line
})

const removeDesk = async (url: string, prefix: string): Promise<void> => {
  const connection = new Connection(url)
  const topology = makeTopology(prefix)
  for (const queue of topology.names.queues) await connection.queueDelete({ queue })
  for (const exchange of topology.names.exchanges) await connection.exchangeDelete({ exchange })
  await connection.close()
}

const doubles = Layer.mergeAll(
  Layer.succeed(
    Identity,
    Identity.of({
      verify: () =>
        Effect.succeed({ principal: events(1, 1)[0].principal, expiresAtSeconds: Number.MAX_SAFE_INTEGER / 1000 })
    })
  ),
  Layer.succeed(GraphqlExecutor, GraphqlExecutor.of({ execute: () => Effect.succeed({ data: {} }) }))
)

/** Presence has tests of its own. */
const alone = Layer.succeed(Signals, Signals.of({ publish: () => Effect.void, received: Stream.never }))

const startGateway = Effect.fnUntraced(function* ({ broker }: Line) {
  const server = createServer()
  const port = yield* Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () => Effect.sync(() => server.close())
  )
  const gateways = layer({ allowedOrigins: [] }).pipe(Layer.provide([Layer.fresh(broker), alone, doubles]))
  const gateway = Context.get(yield* Layer.build(Layer.fresh(gateways)), Gateway)
  takeUpgrades(server, (request, socket, head) => gateway.handleUpgrade(request, socket, head))
  return `ws://127.0.0.1:${port}/graphql`
})

const query = `subscription($id: ID!, $after: Position) { ticketChanged(id: $id, after: $after) { position } }`

interface Watcher {
  readonly positions: (count: number) => Effect.Effect<ReadonlyArray<unknown>>
  /** The next state that the gateway tells. */
  readonly state: (wanted: string) => Effect.Effect<void>
}

/** A client that never comes back by itself: if its socket were lost, its events would end. */
const watch = (url: string, after: number): Effect.Effect<Watcher, never, Scope.Scope> =>
  Effect.gen(function* () {
    let told: ReadonlyArray<unknown> = []
    let tell = (): void => undefined
    const client: Client = yield* Effect.acquireRelease(
      Effect.sync(() =>
        createClient({
          url,
          webSocketImpl: WebSocket,
          retryAttempts: 0,
          connectionParams: { authorization: "Bearer test" },
          on: {
            ping: (_received, payload) => {
              told = [...told, payload?.feed]
              tell()
            }
          }
        })
      ),
      (made) => Effect.promise(async () => made.dispose())
    )
    const iterator = client.iterate<{ ticketChanged: { position: number } }>({
      query,
      variables: { id: streamOf("a"), after }
    })
    const take = async (count: number) => {
      const positions: globalThis.Array<unknown> = []
      while (positions.length < count) positions.push((await iterator.next()).value?.data?.ticketChanged.position)
      return positions
    }
    return {
      positions: (count) => Effect.promise(() => take(count)),
      state: (wanted) =>
        Effect.callback<void>((resume) => {
          tell = () => {
            const last = told.at(-1)
            if (typeof last === "object" && last !== null && "state" in last && last.state === wanted)
              resume(Effect.void)
          }
          tell()
        })
    }
  })

const brokers = [
  ["embedded", embedded],
  ["RabbitMQ", rabbitMq]
] as const

describe.each(brokers)("the gateway on the %s broker", (_name, make) => {
  it.live("gives each event once, in order, through an outage, and at another gateway", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const line = yield* make
        yield* line.publish(1, 20)
        const first = yield* startGateway(line)
        const watcher = yield* watch(first, 0)
        expect(yield* watcher.positions(20)).toEqual(Array.range(1, 20))
        yield* line.publish(21, 30)
        expect(yield* watcher.positions(10)).toEqual(Array.range(21, 30))

        yield* line.proxy.set({ _tag: "Refuse" })
        yield* watcher.state("stale")
        yield* line.publish(31, 60)
        yield* line.proxy.set({ _tag: "Pass" })
        expect(yield* watcher.positions(30)).toEqual(Array.range(31, 60))
        yield* watcher.state("live")

        const second = yield* startGateway(line)
        const elsewhere = yield* watch(second, 25)
        expect(yield* elsewhere.positions(35)).toEqual(Array.range(26, 60))
        yield* line.publish(61, 62)
        expect(yield* elsewhere.positions(2)).toEqual([61, 62])
        expect(yield* watcher.positions(2)).toEqual([61, 62])
      })
    )
  )

  it.live("says stale when the line hangs, and loses nothing by it", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const line = yield* make
        yield* line.publish(1, 5)
        const watcher = yield* watch(yield* startGateway(line), 0)
        expect(yield* watcher.positions(5)).toEqual([1, 2, 3, 4, 5])
        yield* line.proxy.set({ _tag: "Hang" })
        yield* line.publish(6, 9)
        yield* watcher.state("stale")
        yield* line.proxy.set({ _tag: "Pass" })
        expect(yield* watcher.positions(4)).toEqual([6, 7, 8, 9])
      })
    )
  )

  it.live("starts while the broker is away, and serves once it is there", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const line = yield* make
        yield* line.publish(1, 5)
        yield* line.proxy.set({ _tag: "Refuse" })
        const watcher = yield* watch(yield* startGateway(line), 3)
        yield* line.proxy.set({ _tag: "Pass" })
        expect(yield* watcher.positions(2)).toEqual([4, 5])
      })
    )
  )
})
