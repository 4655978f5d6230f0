// RabbitMQ as a cluster of three nodes. The first node leads the queues and the stream and has our connections; it is killed under load, and
// all goes on with the other two. With one node left nothing can be published, which no command notices; with the others back all comes.
import { randomUUID } from "node:crypto"
import { assert, it } from "@effect/vitest"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Effect, Fiber, Redacted } from "effect"
import { makeWorld } from "./EventWorld.ts"
import { startCluster } from "./RabbitMqControl.ts"
import { brokerIs, onDesk } from "./RabbitWorld.ts"

const testDeadlineMs = 300_000

it.live(
  "a cluster that loses its leader goes on, one that loses its majority waits, and nothing is lost or out of order",
  () =>
    Effect.gen(function* () {
      const cluster = yield* Effect.acquireRelease(
        Effect.promise(() => startCluster()),
        (started) => Effect.promise(() => started.stop())
      )
      const [leader, second] = cluster.nodes
      assert.isDefined(leader)
      assert.isDefined(second)
      const desk = {
        database: yield* migratedDatabase,
        rabbitMq: Redacted.make(cluster.url),
        prefix: `desk-${randomUUID()}`
      }
      yield* onDesk(
        desk,
        Effect.gen(function* () {
          const world = yield* makeWorld
          yield* world.start
          const load = yield* Effect.forkScoped(world.commit(400))
          yield* world.handledCount(100)
          yield* Effect.promise(() => leader.kill())
          yield* Fiber.join(load)
          yield* world.handledCount(400)
          yield* world.shownCount(400)
          yield* Effect.promise(() => second.kill())
          yield* world.commit(100)
          yield* world.allPositioned
          yield* brokerIs(({ state }) => state !== "up")
          yield* Effect.promise(() => Promise.all([leader.start(), second.start()]))
          yield* world.caughtUp(500)
        })
      )
    }),
  testDeadlineMs
)
