// A RabbitMQ that tests may break, shared by those of one file, each of which leaves it running and has a database and a desk's names of its
// own.
import { randomUUID } from "node:crypto"
import { assert } from "@effect/vitest"
import { EventLog } from "@holdfast/database/EventLog"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { type DependencyHealth, Health } from "@holdfast/resilience/Health"
import type { ServerProcess } from "@holdfast/scripts/ServerProcess"
import { startStack } from "@holdfast/scripts/Stack"
import { Context, Effect, Layer, Redacted } from "effect"
import { type EventServers, eventsOn, until } from "./EventWorld.ts"

export class Rabbit extends Context.Service<Rabbit, ServerProcess>()("test/Rabbit") {
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

export const newDesk = Effect.gen(function* () {
  const { plan } = yield* Rabbit
  return { database: yield* migratedDatabase, rabbitMq: Redacted.make(plan.url), prefix: `desk-${randomUUID()}` }
})

/** As its processes have it. */
export const onDesk = <A, E, R>(desk: EventServers, effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Layer.build(Layer.fresh(eventsOn(desk))), (context) => Effect.provide(effect, context))

export const brokerIs = (isSo: (broker: DependencyHealth) => boolean) =>
  until(
    Health.use((health) => Effect.map(health.all, (all) => all.some((one) => one.dependency === "broker" && isSo(one))))
  )

export const published = (count: number) =>
  EventLog.use((log) => until(Effect.map(log.published, (position) => position >= count)))
