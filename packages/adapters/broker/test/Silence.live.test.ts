// A RabbitMQ that hangs with its socket open says nothing, and nothing on the connection fails. Whoever waits for deliveries is told
// all the same, long before the heartbeat would notice, and everything goes on when it answers again.
import { expect, it } from "@effect/vitest"
import { Health } from "@holdfast/resilience/Health"
import { envelopeOf, streamOf } from "@holdfast/testkit/Envelopes"
import { faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { rabbitmqUrl } from "@holdfast/testkit/TestServers"
import { Effect, Layer, Option, Redacted, Result, Schedule, Stream } from "effect"
import { atPresent, Broker } from "../src/Broker.ts"
import * as BrokerRabbitMq from "../src/BrokerRabbitMq.ts"
import { ownPrefix } from "./RabbitMqForTests.ts"

const event = (position: number) => envelopeOf(streamOf("a"), "a", position, position)

const stateIs = (wanted: string) =>
  Health.use((health) => health.all).pipe(
    Effect.map((all) => all.some(({ dependency, state }) => dependency === "broker" && state === wanted)),
    Effect.repeat({ until: (is) => is, schedule: Schedule.spaced("20 millis") })
  )

it.live("a hung RabbitMQ: readers and consumers are told that it does not answer, and go on when it does", () =>
  Effect.gen(function* () {
    const url = yield* rabbitmqUrl
    const prefix = yield* ownPrefix
    const line = yield* faultProxy(targetOf(url))
    const throughLine = Redacted.make(line.through(url))
    const layer = BrokerRabbitMq.layer({ url: throughLine, applicationName: "test", prefix }).pipe(
      Layer.provideMerge(Health.layer)
    )
    yield* Effect.gen(function* () {
      const broker = yield* Broker
      yield* broker.publish([event(1)])
      let reached = 0
      // Both have it, so both are open; from here on nothing moves.
      const hangOnceBoth = Effect.suspend(() => (++reached === 2 ? line.set({ _tag: "Hang" }) : Effect.void))
      const untilTold = <A, E>(stream: Stream.Stream<A, E>) =>
        Effect.result(Stream.runDrain(Stream.tap(stream, () => hangOnceBoth)))
      const changes = broker.changes(Option.none()).pipe(Stream.filter((change) => change !== atPresent))
      const told = yield* Effect.all([untilTold(changes), untilTold(broker.consume("views"))], {
        concurrency: "unbounded"
      })
      const reasons = told.map((result) => (Result.isFailure(result) ? result.failure : "ended"))
      // The heartbeat would have said that the connection is lost.
      expect(reasons).toMatchObject([{ reason: "timeout" }, { reason: "timeout" }])
      yield* stateIs("degraded")
      yield* line.set({ _tag: "Pass" })
      yield* broker.publish([event(2)])
      const positions = yield* changes.pipe(
        Stream.take(2),
        Stream.map(({ position }) => position),
        Stream.runCollect
      )
      expect(positions).toEqual([1, 2])
    }).pipe(Effect.provide(layer))
  })
)
