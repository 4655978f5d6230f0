// RabbitMQ killed and hung under load, and a relay killed at the worst moment: nothing is lost, order is kept, the change feed shows each
// event once, and everything heals by itself. The test's own RabbitMQ, so that nobody else's is hurt.
import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { assert, layer as describeLayer } from "@effect/vitest"
import { EventLog } from "@holdfast/database/EventLog"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import type { ServerProcess } from "@holdfast/scripts/ServerProcess"
import { startStack } from "@holdfast/scripts/Stack"
import { Context, Duration, Effect, Fiber, Layer, Redacted } from "effect"
import { assertCompleteInOrder, assertShownOnce, eventsOn, makeWorld, until } from "./EventWorld.ts"

/** One RabbitMQ for all, that each test leaves running, and a database and a desk for each. */
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

const brokerIs = (state: "up" | "down") =>
  until(
    Health.use((health) =>
      Effect.map(health.all, (all) => all.some((one) => one.dependency === "broker" && one.state === state))
    )
  )

/** Load, the fault while it goes on, more load during the fault, the end of the fault; then everything must have come through. */
const survives = (fault: {
  readonly begin: (rabbit: ServerProcess) => Promise<void>
  readonly end: (rabbit: ServerProcess) => Promise<void>
}) =>
  Effect.gen(function* () {
    const rabbit = yield* Rabbit
    const context = yield* Layer.build(Layer.fresh(eventsOn(yield* newDesk)))
    yield* Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startRelay
      yield* world.startConsumer
      yield* world.startReader
      const load = yield* Effect.forkScoped(world.commit(600))
      yield* world.handledCount(100)
      yield* Effect.promise(() => fault.begin(rabbit))
      yield* brokerIs("down")
      yield* Fiber.join(load)
      yield* world.commit(200)
      yield* world.allPositioned
      yield* Effect.promise(() => fault.end(rabbit))
      yield* world.handledCount(800)
      yield* world.shownCount(800)
      yield* brokerIs("up")
      assertCompleteInOrder(world.handled, 800)
      assertShownOnce(world.shown, 800)
    }).pipe(Effect.provide(context))
  })

/** Most of it is RabbitMQ's start. */
const testDeadlineMs = 240_000
const options = { excludeTestServices: true, timeout: Duration.minutes(2) }

describeLayer(Rabbit.layer, options)("the flow of events", (it) => {
  it.effect(
    "when RabbitMQ is killed under load: positions go on, nothing is lost, order is kept, the change feed shows each once",
    () => survives({ begin: (rabbit) => rabbit.kill(), end: (rabbit) => rabbit.start() }),
    testDeadlineMs
  )

  it.effect(
    "when RabbitMQ hangs under load: refused in time, nothing is lost, order is kept, the change feed shows each once",
    () =>
      survives({
        begin: async (rabbit) => rabbit.signal("SIGSTOP"),
        end: async (rabbit) => rabbit.signal("SIGCONT")
      }),
    testDeadlineMs
  )

  it.effect(
    "when a relay is killed between the broker's confirm and its cursor: published again, and nobody is the wiser",
    () =>
      Effect.gen(function* () {
        const desk = yield* newDesk
        const context = yield* Layer.build(Layer.fresh(eventsOn(desk)))
        yield* Effect.gen(function* () {
          const world = yield* makeWorld
          const log = yield* EventLog
          yield* world.commit(300)
          while ((yield* log.assignPositions(500)) > 0);
          const fixture = fileURLToPath(new URL("./DyingRelay.fixture.ts", import.meta.url))
          const args = [fixture, Redacted.value(desk.database), Redacted.value(desk.rabbitMq), desk.prefix]
          const child = spawn(process.execPath, args, { stdio: "inherit" })
          const [, signal] = yield* Effect.promise(() => once(child, "exit"))
          assert.strictEqual(signal, "SIGKILL")
          assert.strictEqual(yield* log.published, 0)
          yield* world.startRelay
          yield* world.startConsumer
          yield* world.startReader
          yield* until(Effect.map(log.published, (position) => position === 300))
          yield* until(Effect.sync(() => world.handled.length >= 600))
          yield* world.shownCount(300)
          assertCompleteInOrder(world.handled, 300)
          assert.strictEqual(world.handled.length, 600)
          assertShownOnce(world.shown, 300)
        }).pipe(Effect.provide(context))
      }),
    testDeadlineMs
  )
})
