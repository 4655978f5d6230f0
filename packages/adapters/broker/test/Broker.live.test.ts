import { expect, it } from "@effect/vitest"
import { Position } from "@holdfast/contracts/Ids"
import { Database } from "@holdfast/database/Database"
import { sequence } from "@holdfast/testkit/Envelopes"
import { commitPositioned } from "@holdfast/testkit/EventRows"
import { Array, Effect, Layer, Option, Redacted, Stream } from "effect"
import { atPresent, Broker } from "../src/Broker.ts"
import * as BrokerEmbedded from "../src/BrokerEmbedded.ts"
import { contract, Publishing } from "./BrokerContract.ts"
import { databaseForTests } from "./EventLogForTests.ts"
import { brokerForTests, brokerOn, markLost, ownPrefix, serverUrl } from "./RabbitMqForTests.ts"

type Envelopes = Parameters<Publishing["Service"]["publish"]>[0]

const isSome = (envelopes: Envelopes): envelopes is Array.NonEmptyReadonlyArray<Envelopes[number]> =>
  envelopes.length > 0

const makePublishing = (before: (envelopes: Envelopes) => Effect.Effect<void>) =>
  Effect.map(Broker, (broker) => {
    let last = 0
    return Publishing.of({
      nextPosition: Effect.sync(() => last + 1),
      publish: Effect.fnUntraced(function* (envelopes) {
        last = Math.max(last, ...envelopes.map(({ position }) => position))
        yield* before(envelopes)
        if (isSome(envelopes)) yield* broker.publish(envelopes)
      })
    })
  })

const rabbitMq = Layer.effect(
  Publishing,
  makePublishing(() => Effect.void)
).pipe(Layer.provideMerge(brokerForTests))

const embedded = Layer.effect(
  Publishing,
  Effect.flatMap(Database, (database) =>
    makePublishing((envelopes) => Effect.orDie(database.run(commitPositioned(envelopes))))
  )
).pipe(Layer.provideMerge(BrokerEmbedded.layer), Layer.provide(databaseForTests))

contract("RabbitMQ", rabbitMq)
contract("embedded", embedded)

it.live("a gap in RabbitMQ's change feed is told once; then its window begins behind the gap", () =>
  Effect.gen(function* () {
    const broker = yield* Broker
    const events = sequence("aaaaaaaa")
    const publish = (from: number, to: number) => {
      const some = events.slice(from - 1, to)
      return isSome(some) ? broker.publish(some) : Effect.void
    }
    yield* publish(1, 3)
    yield* publish(6, 8)
    const window = (count: number) =>
      broker.changes(Option.none()).pipe(
        Stream.filter((change) => change !== atPresent),
        Stream.map(({ position }) => Number(position)),
        Stream.take(count),
        Stream.runCollect
      )
    const refusal = yield* Effect.flip(window(4))
    expect(refusal).toMatchObject({ reason: "refused", detail: "the change feed goes on at 6, not after 3" })
    expect(yield* window(3)).toEqual([6, 7, 8])
  }).pipe(Effect.provide(brokerForTests))
)

it.live(
  "whoever asks RabbitMQ for the whole window is given the newest, and whoever goes on gets what comes next",
  () =>
    Effect.gen(function* () {
      const url = yield* serverUrl
      const prefix = yield* ownPrefix
      const work = Effect.gen(function* () {
        const broker = yield* Broker
        for (const envelope of sequence("b".repeat(25))) yield* broker.publish([envelope])
        const read = (after: Option.Option<Position>) =>
          broker.changes(after).pipe(
            Stream.takeUntil((change) => change === atPresent),
            Stream.filter((change) => change !== atPresent),
            Stream.map(({ position }) => Number(position)),
            Stream.runCollect
          )
        const newest = Array.range(16, 25)
        expect(yield* read(Option.none())).toEqual(newest)
        expect(yield* read(Option.some(Position.make(18)))).toEqual(Array.range(19, 25))
        // Where it was before is known by now, and lies at the window's end.
        expect(yield* read(Option.none())).toEqual(newest)
        // What is at the end may be old, and no longer tells what is newest.
        yield* Effect.promise(() => markLost(Redacted.value(url), prefix))
        expect(yield* read(Option.none())).toEqual(Array.range(1, 25))
      })
      yield* Effect.provide(work, brokerOn(url, prefix, { changesWindowEventsMax: 10 }))
    })
)
