// RabbitMQ killed, hung, low on memory, without its queues and without its data, all under load, and a relay killed at the worst moment:
// nothing is lost, order is kept, the change feed shows each event once, and everything heals by itself, for the event log is the truth.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { assert, layer as describeLayer } from "@effect/vitest"
import { makeTopology } from "@holdfast/broker/Topology"
import { EventLog } from "@holdfast/database/EventLog"
import type { ServerProcess } from "@holdfast/scripts/ServerProcess"
import { Duration, Effect, Fiber, Redacted } from "effect"
import { Connection } from "rabbitmq-client"
import { makeWorld, until } from "./EventWorld.ts"
import { loseData, rabbitmqctl } from "./RabbitMqControl.ts"
import { brokerIs, newDesk, onDesk, published, Rabbit } from "./RabbitWorld.ts"

/** Load, the fault while it goes on, more load during the fault, the end of the fault; then everything must have come through. */
const survives = (fault: {
  readonly begin: (rabbit: ServerProcess) => Promise<void>
  readonly end: (rabbit: ServerProcess) => Promise<void>
}) =>
  Effect.gen(function* () {
    const rabbit = yield* Rabbit
    const desk = yield* newDesk
    yield* onDesk(
      desk,
      Effect.gen(function* () {
        const world = yield* makeWorld
        yield* world.start
        const load = yield* Effect.forkScoped(world.commit(600))
        yield* world.handledCount(100)
        const during = Effect.gen(function* () {
          yield* brokerIs(({ state }) => state === "down")
          yield* Fiber.join(load)
          yield* world.commit(200)
          yield* world.allPositioned
        })
        // The fault ends with a test that fails, too: the next one shares this server.
        yield* Effect.acquireUseRelease(
          Effect.promise(() => fault.begin(rabbit)),
          () => during,
          () => Effect.promise(() => fault.end(rabbit))
        )
        yield* world.caughtUp(800)
        yield* brokerIs(({ state }) => state !== "down")
      })
    )
  })

const deleteQueue = (url: string, queue: string) =>
  Effect.promise(async () => {
    const connection = new Connection(url)
    await connection.queueDelete({ queue })
    await connection.close()
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
        yield* onDesk(
          desk,
          Effect.gen(function* () {
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
            yield* world.start
            yield* until(Effect.map(log.published, (position) => position === 300))
            yield* until(Effect.sync(() => world.handled.length >= 600))
            yield* world.caughtUp(300)
            // Each was published twice, and RabbitMQ itself may give one again: that all are there and in order is looked at above.
            assert.isAtLeast(world.handled.length, 600)
          })
        )
      }),
    testDeadlineMs
  )

  it.effect(
    "when an operator deletes queues with what they held: it is published again, in order, and the change feed shows each once",
    () =>
      Effect.gen(function* () {
        const rabbit = yield* Rabbit
        const desk = yield* newDesk
        const topology = makeTopology(desk.prefix)
        yield* onDesk(
          desk,
          Effect.gen(function* () {
            const world = yield* makeWorld
            yield* world.startPublishing
            yield* world.commit(100)
            yield* published(100)
            yield* world.shownCount(100)
            for (const queue of [...topology.queues("views"), topology.changes])
              yield* deleteQueue(rabbit.plan.url, queue)
            yield* world.commit(100)
            yield* world.startConsumer
            yield* world.caughtUp(200)
          })
        )
      }),
    testDeadlineMs
  )

  it.effect(
    "when RabbitMQ is low on memory: publishing is refused and says why, what is queued goes on being handled, and all comes after it",
    () =>
      Effect.gen(function* () {
        const rabbit = yield* Rabbit
        const desk = yield* newDesk
        const watermark = (share: string) =>
          Effect.promise(() => rabbitmqctl(rabbit, "set_vm_memory_high_watermark", share))
        yield* onDesk(
          desk,
          Effect.gen(function* () {
            const world = yield* makeWorld
            yield* world.startPublishing
            yield* world.commit(100)
            yield* published(100)
            const during = Effect.gen(function* () {
              yield* world.commit(100)
              yield* brokerIs(({ detail }) => /takes no messages/.test(detail ?? ""))
              yield* world.allPositioned
              // Whoever consumes is not stopped with whoever publishes: the backlog that caused an alarm must be able to go.
              yield* world.startConsumer
              yield* world.handledCount(100)
            })
            yield* Effect.acquireUseRelease(
              watermark("0.00001"),
              () => during,
              () => watermark("0.4")
            )
            yield* world.caughtUp(200)
          })
        )
      }),
    testDeadlineMs
  )

  it.effect(
    "when RabbitMQ comes back without its data: what somebody had not handled is published again, in order",
    () =>
      Effect.gen(function* () {
        const rabbit = yield* Rabbit
        const desk = yield* newDesk
        yield* onDesk(
          desk,
          Effect.gen(function* () {
            const world = yield* makeWorld
            yield* world.startPublishing
            yield* world.commit(200)
            yield* published(200)
            yield* world.shownCount(200)
            yield* Effect.acquireUseRelease(
              Effect.promise(() => loseData(rabbit)),
              () => world.commit(100),
              () => Effect.promise(() => rabbit.start())
            )
            yield* world.startConsumer
            yield* world.caughtUp(300)
          })
        )
      }),
    testDeadlineMs
  )
})
