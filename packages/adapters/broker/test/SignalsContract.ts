// What every layer of signals must keep, as Signals.ts promises it. Two processes on the same server are two builds of the layer.
import { randomUUID } from "node:crypto"
import { assert, it } from "@effect/vitest"
import { Presence } from "@holdfast/resilience/Limits"
import { ByteSize, Context, Duration, Effect, Layer, Queue, type Scope, Stream } from "effect"
import { Signals } from "../src/Signals.ts"

type Process = Signals["Service"]

/** What a process hears, from the moment at which it says that it hears itself. */
const listening = Effect.fnUntraced(function* (process: Process) {
  const heard = yield* Queue.unbounded<string>()
  yield* Effect.forkScoped(Stream.runForEach(process.received, (text) => Queue.offer(heard, text)))
  yield* heardBy(process, heard)
  return heard
})

/** Says something new until it is heard: a layer may lose what it likes, and must come back. */
const heardBy = Effect.fnUntraced(function* (speaker: Process, heard: Queue.Queue<string>) {
  const mark = randomUUID()
  const saying = Effect.forever(Effect.andThen(speaker.publish(mark), Effect.sleep(Duration.millis(50))))
  yield* Effect.raceFirst(until(heard, mark), saying)
})

const until = (heard: Queue.Queue<string>, mark: string): Effect.Effect<void> =>
  Effect.asVoid(Effect.repeat(Queue.take(heard), { until: (text) => text === mark }))

/** `start` builds the layer of one more process. */
export const contract = <E>(
  name: string,
  withServer: <A>(
    test: (start: Effect.Effect<Process, E, Scope.Scope>) => Effect.Effect<A, E, Scope.Scope>
  ) => Effect.Effect<A, unknown>
) => {
  it.live(`Signals (${name}) reach every process that listens, the speaker too`, () =>
    withServer(
      Effect.fnUntraced(function* (start) {
        const one = yield* start
        const two = yield* start
        const [atOne, atTwo] = [yield* listening(one), yield* listening(two)]
        yield* heardBy(one, atTwo)
        yield* heardBy(two, atOne)
        const text = JSON.stringify({ long: "Ä\u{1F600}\"'\\".repeat(300) })
        yield* one.publish(text)
        yield* until(atOne, text)
        yield* until(atTwo, text)
      })
    )
  )

  it.live(`Signals (${name}) drop what is too long and go on`, () =>
    withServer(
      Effect.fnUntraced(function* (start) {
        const one = yield* start
        const heard = yield* listening(one)
        yield* one.publish("x".repeat(ByteSize.toNumberUnsafe(Presence.signalBytesMax) + 1))
        const longest = "y".repeat(ByteSize.toNumberUnsafe(Presence.signalBytesMax))
        yield* one.publish(longest)
        yield* Effect.repeat(Queue.take(heard), {
          until: (text) => {
            assert.isFalse(text.startsWith("x"))
            return text === longest
          }
        })
      })
    )
  )

  it.live(`Signals (${name}) take any number without waiting, and the newest arrives`, () =>
    withServer(
      Effect.fnUntraced(function* (start) {
        const one = yield* start
        const heard = yield* listening(one)
        for (let n = 0; n < Presence.signalsWaitingMax * 3; n++) yield* one.publish(`number ${n}`)
        yield* until(heard, `number ${Presence.signalsWaitingMax * 3 - 1}`)
      })
    )
  )
}

/** One more build of a layer, with a scope of the test's. */
export const startedBy = <E, R>(layer: Layer.Layer<Signals, E, R>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (built) => Context.get(built, Signals))
