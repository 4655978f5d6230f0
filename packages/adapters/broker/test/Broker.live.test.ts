import { Database } from "@holdfast/database/Database"
import { commitPositioned } from "@holdfast/testkit/EventRows"
import type { Array } from "effect"
import { Effect, Layer } from "effect"
import { Broker } from "../src/Broker.ts"
import * as BrokerEmbedded from "../src/BrokerEmbedded.ts"
import { contract, Publishing } from "./BrokerContract.ts"
import { databaseForTests } from "./EventLogForTests.ts"
import { brokerForTests } from "./RabbitMqForTests.ts"

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
