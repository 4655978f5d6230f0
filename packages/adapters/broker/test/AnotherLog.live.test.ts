// RabbitMQ with the events of two event logs, as after the restore of a backup or beside a new database: each group has its own log's alone,
// and the change feed says where the other one begins.
import { expect, it } from "@effect/vitest"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position } from "@holdfast/contracts/Ids"
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { EventLog, LogId } from "@holdfast/database/EventLog"
import { Health } from "@holdfast/resilience/Health"
import { sequence } from "@holdfast/testkit/Envelopes"
import { Config, Effect, Layer, Option, Stream } from "effect"
import { atPresent, Broker } from "../src/Broker.ts"
import * as BrokerRabbitMq from "../src/BrokerRabbitMq.ts"
import { brokerOn, ownPrefix } from "./RabbitMqForTests.ts"

const noCursors = Layer.succeed(
  ConsumerCursors,
  ConsumerCursors.of({ read: () => Effect.succeed(Position.make(0)), advance: () => Effect.void })
)

const logNamed = (name: string) =>
  Layer.mock(EventLog)({
    identity: Effect.succeed(LogId.make(name)),
    published: Effect.succeed(Position.make(0)),
    readAfter: () => Effect.succeed([])
  })

const label = ({ position, streamId }: Envelope) => `${streamId}@${position}`

it.live("the events of a former log are passed over, and the change feed begins with the new one", () =>
  Effect.gen(function* () {
    const url = yield* Config.Redacted("HOLDFAST_TEST_RABBITMQ_URL")
    const prefix = yield* ownPrefix
    const on = <A, E>(log: string, work: Effect.Effect<A, E, Broker>) =>
      work.pipe(
        Effect.provide(
          BrokerRabbitMq.layerOnLog({ url, applicationName: "test", prefix }).pipe(
            Layer.provide([logNamed(log), noCursors, Health.layer])
          )
        )
      )
    const [one, two, ...others] = sequence("aaaaaaaa")
    const [first, second] = sequence("bbbbbbbb")
    if (!one || !two || !first || !second) throw new Error("the sequences are shorter than this needs")
    const publish = (...events: [typeof one, ...ReadonlyArray<typeof one>]) =>
      Broker.use((broker) => broker.publish(events))
    yield* on("former", publish(one, two, ...others.slice(0, 3)))
    yield* on("new", publish(first, second))
    const handled = Broker.use((broker) =>
      broker.consume("views").pipe(
        Stream.tap(({ ack }) => ack),
        Stream.map(({ envelope }) => label(envelope)),
        Stream.take(2),
        Stream.runCollect
      )
    )
    expect(yield* on("new", handled)).toEqual([first, second].map(label))
    yield* Effect.gen(function* () {
      const broker = yield* Broker
      const shown: Array<string> = []
      const follow = (after: Option.Option<Position>, count: number) =>
        broker.changes(after).pipe(
          Stream.filter((change) => change !== atPresent),
          Stream.take(count),
          Stream.runForEach((envelope) => Effect.sync(() => shown.push(label(envelope))))
        )
      const told = yield* Effect.flip(follow(Option.none(), 7))
      expect(told._tag).toBe("AnotherLog")
      shown.length = 0
      yield* follow(Option.none(), 2)
      expect(shown).toEqual([first, second].map(label))
    }).pipe(Effect.provide(brokerOn(url, prefix)))
  })
)
