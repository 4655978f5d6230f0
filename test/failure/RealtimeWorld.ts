// The gateway on either real broker, through a line that a test may break. What it asks besides, who somebody is and what a query gives, are
// doubles: no test of the feed is about them.
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
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
import { Gateway, type GatewayOptions, layer } from "@holdfast/realtime/Gateway"
import { takeStreams } from "@holdfast/realtime/StreamRequest"
import { takeUpgrades } from "@holdfast/realtime/Upgrade"
import { Health } from "@holdfast/resilience/Health"
import { envelopeOf, streamOf } from "@holdfast/testkit/Envelopes"
import { commitPositioned } from "@holdfast/testkit/EventRows"
import { type FaultProxy, faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { rabbitmqUrl } from "@holdfast/testkit/TestServers"
import { Array, Context, DateTime, Duration, Effect, Layer, Redacted, Stream } from "effect"
import { Connection } from "rabbitmq-client"

/** A broker behind a line that a test may break, and a way to publish that does not use that line. */
export interface Line {
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

export const embedded = Effect.gen(function* () {
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

export const rabbitMq = Effect.gen(function* () {
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
  // Presence has tests of its own.
  Layer.succeed(Signals, Signals.of({ publish: () => Effect.void, received: Stream.never })),
  Layer.succeed(GraphqlExecutor, GraphqlExecutor.of({ execute: () => Effect.succeed({ data: {} }) }))
)

export interface RunningGateway {
  readonly url: string
  /** Until it has everything up to this position and its feed is live. */
  readonly reached: (position: number) => Effect.Effect<void>
}

export const startGateway = Effect.fnUntraced(function* (
  { broker }: Pick<Line, "broker">,
  limits: Omit<GatewayOptions, "allowedOrigins"> = {}
) {
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
  const gateways = layer({ allowedOrigins: [], ...limits }).pipe(Layer.provide([Layer.fresh(broker), doubles]))
  const gateway = Context.get(yield* Layer.build(Layer.fresh(gateways)), Gateway)
  takeUpgrades(server, (request, socket, head) => gateway.handleUpgrade(request, socket, head))
  takeStreams(server, (request, response) => gateway.handleStream(request, response))
  const running: RunningGateway = {
    url: `ws://127.0.0.1:${port}/graphql`,
    reached: (position) =>
      gateway.status.pipe(
        Effect.tap(() => Effect.sleep(Duration.millis(10))),
        Effect.repeat({ until: ({ feed }) => feed.state === "live" && feed.position === position })
      )
  }
  return running
})
