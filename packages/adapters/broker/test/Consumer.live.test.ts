// The runner with a real broker and a real parking place: a poison event, what waits behind it, and its replay.
import { assert, layer } from "@effect/vitest"
import { Database } from "@holdfast/database/Database"
import { ParkedEvents } from "@holdfast/database/ParkedEvents"
import { label, sequence, streamOf } from "@holdfast/testkit/Envelopes"
import { commitPositioned } from "@holdfast/testkit/EventRows"
import { Array, Duration, Effect, Layer, Schedule } from "effect"
import { Broker } from "../src/Broker.ts"
import * as BrokerEmbedded from "../src/BrokerEmbedded.ts"
import { Poison, runConsumer } from "../src/Consumer.ts"
import { databaseForTests } from "./EventLogForTests.ts"
import { brokerForTests } from "./RabbitMqForTests.ts"

const rabbitMq = Layer.merge(brokerForTests, databaseForTests)
const embedded = BrokerEmbedded.layer.pipe(Layer.provideMerge(databaseForTests))

const until = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
  Effect.repeat(condition, { until: (holds) => holds, schedule: Schedule.spaced("20 millis") })

const parksAndReplays = Effect.gen(function* () {
  const broker = yield* Broker
  const database = yield* Database
  const parked = yield* ParkedEvents
  const handled: globalThis.Array<string> = []
  let poisonous = true
  yield* Effect.forkScoped(
    runConsumer({
      group: "automation",
      handle: (envelope) =>
        poisonous && label(envelope) === "a2"
          ? Effect.fail(new Poison({ detail: "no sense" }))
          : Effect.sync(() => void handled.push(label(envelope)))
    })
  )
  const events = sequence("aaabb")
  yield* Effect.orDie(database.run(commitPositioned(events)))
  if (Array.isReadonlyArrayNonEmpty(events)) yield* broker.publish(events)
  yield* until(Effect.map(parked.list(), (list) => list.length === 2 && handled.length === 3))
  const list = yield* parked.list({ group: "automation" })
  assert.deepStrictEqual(
    list.map(({ attempts, position, reason }) => [Number(position), attempts, reason]),
    [
      [2, 1, "no sense"],
      [3, 0, "waits behind an earlier event of its stream"]
    ]
  )
  poisonous = false
  assert.strictEqual(yield* parked.replay("automation", streamOf("a")), 2)
  yield* until(Effect.map(parked.list(), (left) => left.length === 0))
  assert.deepStrictEqual(
    handled.filter((one) => one.startsWith("a")),
    ["a1", "a2", "a3"]
  )
  assert.deepStrictEqual(
    handled.filter((one) => one.startsWith("b")),
    ["b1", "b2"]
  )
})

const options = { excludeTestServices: true, timeout: Duration.seconds(60) }

layer(rabbitMq, options)("runConsumer on RabbitMQ", (it) => {
  it.effect("parks a poison event with the later ones of its stream, and replays them in order", () => parksAndReplays)
})

layer(embedded, options)("runConsumer on the embedded broker", (it) => {
  it.effect("parks a poison event with the later ones of its stream, and replays them in order", () => parksAndReplays)
})
