// A desk of its own on the RabbitMQ that HOLDFAST_TEST_RABBITMQ_URL names: a prefix that nobody else has, removed in the end.
import { randomUUID } from "node:crypto"
import { Health } from "@holdfast/resilience/Health"
import { Config, Effect, Layer, Redacted } from "effect"
import { Connection } from "rabbitmq-client"
import * as BrokerRabbitMq from "../src/BrokerRabbitMq.ts"
import type { RabbitMqOptions } from "../src/RabbitMqConnection.ts"
import { makeTopology } from "../src/Topology.ts"

export const serverUrl = Config.Redacted("HOLDFAST_TEST_RABBITMQ_URL")

export const ownPrefix = Effect.acquireRelease(
  Effect.sync(() => `test-${randomUUID()}`),
  (prefix) =>
    Effect.andThen(serverUrl, (url) => Effect.promise(() => removeDesk(Redacted.value(url), prefix))).pipe(Effect.orDie)
)

/** The broker on a server, as a process has it. */
export const brokerOn = (
  url: Redacted.Redacted<string>,
  prefix: string,
  options: Pick<RabbitMqOptions, "changesWindowEventsMax"> = {}
) => BrokerRabbitMq.layer({ url, applicationName: "test", prefix, ...options }).pipe(Layer.provide(Health.layer))

export const brokerForTests = Layer.unwrap(
  Effect.gen(function* () {
    return brokerOn(yield* serverUrl, yield* ownPrefix)
  })
)

/** As when queues were made anew and what they had held is still to be published again. */
export const markLost = async (url: string, prefix: string): Promise<void> => {
  const connection = new Connection(url)
  await connection.exchangeDeclare({ exchange: makeTopology(prefix).lost, type: "fanout", durable: true })
  await connection.close()
}

const removeDesk = async (url: string, prefix: string): Promise<void> => {
  const connection = new Connection(url)
  const topology = makeTopology(prefix)
  for (const queue of topology.names.queues) await connection.queueDelete({ queue })
  for (const exchange of topology.names.exchanges) await connection.exchangeDelete({ exchange })
  await connection.close()
}
