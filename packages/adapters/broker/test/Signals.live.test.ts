// Signals on both layers, and through a line to the server that is cut: nobody waits, and they come back by themselves.
import { randomUUID } from "node:crypto"
import { expect, it } from "@effect/vitest"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { Database } from "@holdfast/database/Database"
import * as NoticesPostgres from "@holdfast/database/NoticesPostgres"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { Config, Duration, Effect, Layer, Queue, Redacted, Stream } from "effect"
import { Connection } from "rabbitmq-client"
import * as SignalsEmbedded from "../src/SignalsEmbedded.ts"
import * as SignalsRabbitMq from "../src/SignalsRabbitMq.ts"
import { contract, startedBy } from "./SignalsContract.ts"

const serverUrl = Config.Redacted("HOLDFAST_TEST_RABBITMQ_URL")

const ownPrefix = Effect.acquireRelease(
  Effect.sync(() => `test-${randomUUID()}`),
  (prefix) =>
    Effect.orDie(
      Effect.andThen(serverUrl, (url) =>
        Effect.promise(async () => {
          const connection = new Connection(Redacted.value(url))
          await connection.exchangeDelete({ exchange: `${prefix}.signals` })
          await connection.close()
        })
      )
    )
)

const rabbitMq = (url: Redacted.Redacted<string>, prefix: string) =>
  startedBy(SignalsRabbitMq.layer({ url, applicationName: "test", prefix }))

const embedded = (url: Redacted.Redacted<string>) =>
  startedBy(
    SignalsEmbedded.layer.pipe(
      Layer.provide(NoticesPostgres.layer),
      Layer.provide(Database.layer),
      Layer.provide(ClientPostgres.layer({ url, applicationName: "test" })),
      Layer.provide(Health.layer)
    )
  )

contract("RabbitMQ", (test) =>
  Effect.scoped(
    Effect.gen(function* () {
      return yield* test(rabbitMq(yield* serverUrl, yield* ownPrefix))
    })
  )
)

contract("embedded", (test) =>
  Effect.scoped(
    Effect.gen(function* () {
      return yield* test(embedded(yield* migratedDatabase))
    })
  )
)

/** What is published while the line is cut is lost without anybody waiting; afterwards signals pass again. */
const heals = Effect.fnUntraced(function* (
  start: (url: Redacted.Redacted<string>) => ReturnType<typeof rabbitMq> | ReturnType<typeof embedded>,
  url: Redacted.Redacted<string>
) {
  const proxy = yield* faultProxy(targetOf(Redacted.value(url)))
  const through = new URL(Redacted.value(url))
  through.host = `127.0.0.1:${proxy.port}`
  const signals = yield* start(Redacted.make(through.toString()))
  const heard = yield* Queue.unbounded<string>()
  yield* Effect.forkScoped(Stream.runForEach(signals.received, (text) => Queue.offer(heard, text)))
  const heardAgain = (mark: string) =>
    Effect.raceFirst(
      Effect.repeat(Queue.take(heard), { until: (text) => text === mark }),
      Effect.forever(Effect.andThen(signals.publish(mark), Effect.sleep(Duration.millis(100))))
    )
  yield* heardAgain("before")
  yield* proxy.set({ _tag: "Refuse" })
  yield* signals.publish("meanwhile")
  yield* proxy.set({ _tag: "Pass" })
  expect(yield* heardAgain("after")).toBe("after")
})

it.live("RabbitMQ: signals come back by themselves after the line was cut", () =>
  Effect.scoped(
    Effect.gen(function* () {
      const prefix = yield* ownPrefix
      yield* heals((url) => rabbitMq(url, prefix), yield* serverUrl)
    })
  )
)

it.live("embedded: signals come back by themselves after the line was cut", () =>
  Effect.scoped(Effect.flatMap(migratedDatabase, (url) => heals(embedded, url)))
)
