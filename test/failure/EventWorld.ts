// The event flow as processes have it, on a database made for the test and a RabbitMQ that the test may kill: the relay, a consumer
// that notes what it handled, and a reader of the change feed that goes on from its last position after each loss.

import { assert } from "@effect/vitest"
import { atPresent, Broker } from "@holdfast/broker/Broker"
import * as BrokerRabbitMq from "@holdfast/broker/BrokerRabbitMq"
import { runConsumer } from "@holdfast/broker/Consumer"
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Position } from "@holdfast/contracts/Ids"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { Database } from "@holdfast/database/Database"
import { EventLog } from "@holdfast/database/EventLog"
import * as EventLogPostgres from "@holdfast/database/EventLogPostgres"
import { Parking } from "@holdfast/database/ParkedEvents"
import { runRelay } from "@holdfast/events/Relay"
import { Health } from "@holdfast/resilience/Health"
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { envelopeOf, streamOf } from "@holdfast/testkit/Envelopes"
import { commit } from "@holdfast/testkit/EventRows"
import { Effect, Layer, Option, type Redacted, Schedule, Stream } from "effect"

export interface EventServers {
  readonly database: Redacted.Redacted<string>
  readonly rabbitMq: Redacted.Redacted<string>
  /** Of the desk's names on RabbitMQ. */
  readonly prefix: string
}

const coreOn = (database: EventServers["database"]) =>
  Layer.mergeAll(EventLogPostgres.layer, ConsumerCursors.layer, Parking.layer).pipe(
    Layer.provideMerge(Database.layer),
    Layer.provideMerge(ClientPostgres.layer({ url: database, applicationName: "failure-test" }))
  )

export const eventsOn = ({ database, prefix, rabbitMq }: EventServers) =>
  BrokerRabbitMq.layerOnLog({ url: rabbitMq, applicationName: "failure-test", prefix }).pipe(
    Layer.provideMerge(coreOn(database)),
    Layer.provideMerge(Health.layer)
  )

/** A condition that comes about by itself, looked at until it holds. */
export const until = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
  Effect.repeat(condition, { until: (holds) => holds, schedule: Schedule.spaced("50 millis") })

const letters = "abcdefghij"

export const makeWorld = Effect.gen(function* () {
  const log = yield* EventLog
  const handled: Array<Envelope> = []
  const shown: Array<Envelope> = []
  let committed = 0
  const startRelay = Effect.forkScoped(runRelay)
  const startConsumer = Effect.forkScoped(
    runConsumer({ group: "views", handle: (envelope) => Effect.sync(() => void handled.push(envelope)) })
  )
  const startReader = Effect.forkScoped(keepRunning("change feed", readChanges(shown)))
  const handledCount = (count: number) =>
    until(Effect.sync(() => new Set(handled.map(({ eventId }) => eventId)).size >= count))
  const shownCount = (count: number) => until(Effect.sync(() => shown.length >= count))
  return {
    handled,
    startConsumer,
    startPublishing: Effect.andThen(startRelay, startReader),
    start: Effect.all([startRelay, startConsumer, startReader], { discard: true }),
    /** This many more events, round the streams. */
    commit: Effect.fnUntraced(function* (count: number) {
      for (let done = 0; done < count; done++, committed++) {
        const letter = letters.charAt(committed % letters.length)
        const version = Math.floor(committed / letters.length) + 1
        yield* commit(envelopeOf(streamOf(letter), letter, version, committed + 1))
      }
    }),
    allPositioned: until(Effect.map(log.lastPosition, (last) => last === committed)),
    handledCount,
    shownCount,
    /** Waits until all of that many have come through, and asserts that they came as they must. */
    caughtUp: Effect.fnUntraced(function* (count: number) {
      yield* handledCount(count)
      yield* shownCount(count)
      assertCompleteInOrder(handled, count)
      assertShownOnce(shown, count)
    })
  }
})

const readChanges = (shown: Array<Envelope>) =>
  Effect.suspend(() => {
    const last: Position | undefined = shown.at(-1)?.position
    return Broker.use((broker) =>
      broker.changes(Option.fromNullishOr(last)).pipe(
        Stream.filter((change) => change !== atPresent),
        Stream.runForEach((envelope) => Effect.sync(() => shown.push(envelope)))
      )
    )
  })

/** Nothing lost, and the first time that each event was seen keeps its stream's order. */
const assertCompleteInOrder = (seen: ReadonlyArray<Envelope>, count: number) => {
  const firsts = [...new Map(seen.map((one) => [one.eventId, one])).values()]
  assert.strictEqual(firsts.length, count)
  for (const stream of Map.groupBy(firsts, ({ streamId }) => streamId).values()) {
    assert.deepStrictEqual(
      stream.map(({ streamVersion }) => Number(streamVersion)),
      stream.map((_, index) => index + 1)
    )
  }
}

/** Each once, positions ascending without a gap. */
const assertShownOnce = (shown: ReadonlyArray<Envelope>, count: number) =>
  assert.deepStrictEqual(
    shown.map(({ position }) => Number(position)),
    Array.from({ length: count }, (_, index) => index + 1)
  )
