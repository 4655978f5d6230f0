// What RabbitMQ forgets and what it refuses: a queue that an operator deleted, a data folder that is gone, an alarm that stops whoever
// publishes. The event log is the truth, so everything comes again by itself, in order, and commands never notice.
import { randomUUID } from "node:crypto"
import { assert, layer as describeLayer } from "@effect/vitest"
import { makeTopology } from "@holdfast/broker/Topology"
import { EventLog } from "@holdfast/database/EventLog"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import type { ServerProcess } from "@holdfast/scripts/ServerProcess"
import { startStack } from "@holdfast/scripts/Stack"
import { Context, Duration, Effect, Layer, Redacted } from "effect"
import { Connection } from "rabbitmq-client"
import { assertCompleteInOrder, assertShownOnce, eventsOn, makeWorld, until } from "../EventWorld.ts"
import { loseData, rabbitmqctl } from "./RabbitMqControl.ts"

class Rabbit extends Context.Service<Rabbit, ServerProcess>()("test/Rabbit") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const stack = yield* Effect.acquireRelease(
        Effect.promise(() => startStack({ only: ["rabbitmq"] })),
        (started) => Effect.promise(() => started.stop())
      )
      const rabbit = stack.servers.get("rabbitmq")
      assert.isDefined(rabbit)
      return rabbit
    })
  )
}

const newDesk = Effect.gen(function* () {
  const { plan } = yield* Rabbit
  return { database: yield* migratedDatabase, rabbitMq: Redacted.make(plan.url), prefix: `desk-${randomUUID()}` }
})

const brokerSays = (words: RegExp) =>
  until(
    Health.use((health) =>
      Effect.map(health.all, (all) => all.some((one) => one.dependency === "broker" && words.test(one.detail ?? "")))
    )
  )

const published = (count: number) =>
  EventLog.use((log) => until(Effect.map(log.published, (position) => position >= count)))

const deleteQueue = (url: string, queue: string) =>
  Effect.promise(async () => {
    const connection = new Connection(url)
    await connection.queueDelete({ queue })
    await connection.close()
  })

const testDeadlineMs = 120_000

describeLayer(Rabbit.layer, { excludeTestServices: true, timeout: Duration.minutes(2) })("the flow of events", (it) => {
  it.effect(
    "when an operator deletes queues with what they held: it is published again, in order, and the change feed shows each once",
    () =>
      Effect.gen(function* () {
        const rabbit = yield* Rabbit
        const desk = yield* newDesk
        const topology = makeTopology(desk.prefix)
        const context = yield* Layer.build(Layer.fresh(eventsOn(desk)))
        yield* Effect.gen(function* () {
          const world = yield* makeWorld
          yield* world.startRelay
          yield* world.startReader
          yield* world.commit(100)
          yield* published(100)
          yield* world.shownCount(100)
          for (const queue of [...topology.queues("views"), topology.changes])
            yield* deleteQueue(rabbit.plan.url, queue)
          yield* world.commit(100)
          yield* world.startConsumer
          yield* world.handledCount(200)
          yield* world.shownCount(200)
          assertCompleteInOrder(world.handled, 200)
          assertShownOnce(world.shown, 200)
        }).pipe(Effect.provide(context))
      }),
    testDeadlineMs
  )

  it.effect(
    "when RabbitMQ is low on memory: publishing is refused and says why, what is queued goes on being handled, and all comes after it",
    () =>
      Effect.gen(function* () {
        const rabbit = yield* Rabbit
        const context = yield* Layer.build(Layer.fresh(eventsOn(yield* newDesk)))
        const watermark = (share: string) =>
          Effect.promise(() => rabbitmqctl(rabbit, "set_vm_memory_high_watermark", share))
        yield* Effect.gen(function* () {
          const world = yield* makeWorld
          yield* world.startRelay
          yield* world.startReader
          yield* world.commit(100)
          yield* published(100)
          yield* watermark("0.00001")
          yield* world.commit(100)
          yield* brokerSays(/takes no messages/)
          yield* world.allPositioned
          // Whoever consumes is not stopped with whoever publishes: the backlog that caused an alarm must be able to go.
          yield* world.startConsumer
          yield* world.handledCount(100)
          yield* watermark("0.4")
          yield* world.handledCount(200)
          yield* world.shownCount(200)
          assertCompleteInOrder(world.handled, 200)
          assertShownOnce(world.shown, 200)
        }).pipe(Effect.provide(context))
      }),
    testDeadlineMs
  )

  it.effect(
    "when RabbitMQ comes back without its data: what somebody had not handled is published again, in order",
    () =>
      Effect.gen(function* () {
        const rabbit = yield* Rabbit
        const context = yield* Layer.build(Layer.fresh(eventsOn(yield* newDesk)))
        yield* Effect.gen(function* () {
          const world = yield* makeWorld
          yield* world.startRelay
          yield* world.startReader
          yield* world.commit(200)
          yield* published(200)
          yield* world.shownCount(200)
          yield* Effect.promise(() => loseData(rabbit))
          yield* world.commit(100)
          yield* Effect.promise(() => rabbit.start())
          yield* world.startConsumer
          yield* world.handledCount(300)
          yield* world.shownCount(300)
          assertCompleteInOrder(world.handled, 300)
          assertShownOnce(world.shown, 300)
        }).pipe(Effect.provide(context))
      }),
    testDeadlineMs
  )
})
