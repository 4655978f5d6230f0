// Takes the embedded PostgreSQL away for a while, on purpose and for a bounded time, so that people can see what their desk does then. It
// heals by itself: whoever asked for the outage may be gone by then.
import type { RunningServer } from "@holdfast/database/ServerEmbedded"
import { Drill } from "@holdfast/resilience/Limits"
import { Duration, Effect, Fiber, Ref, Schema } from "effect"
import type { Keeper } from "./Keeper.ts"

/** kill: as a power cut. hang: accepts connections and never answers. refuse: shut down in order, connections are refused. */
export const Fault = Schema.Literals(["kill", "hang", "refuse"])
export type Fault = typeof Fault.Type

export const OutageRequest = Schema.Struct({
  fault: Fault,
  seconds: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: Duration.toSeconds(Drill.lengthMax) }))
})
export type OutageRequest = typeof OutageRequest.Type

export class OutageUnderWay extends Schema.TaggedError<OutageUnderWay>()("OutageUnderWay", {}) {}

export interface Outages {
  readonly begin: (request: OutageRequest) => Effect.Effect<void, OutageUnderWay>
  /** Ends the outage before its time; nothing happens when there is none. */
  readonly end: Effect.Effect<void>
}

export const makeOutages = Effect.fnUntraced(function* (keeper: Keeper<RunningServer>) {
  const underWay = yield* Ref.make<Fiber.Fiber<void> | undefined>(undefined)
  const begin = Effect.fnUntraced(function* ({ fault, seconds }: OutageRequest) {
    if ((yield* Ref.get(underWay)) !== undefined) return yield* new OutageUnderWay()
    const lasting = Duration.seconds(seconds)
    yield* keeper.hold(`a drill has taken it away (${fault})`, apply(fault))
    const heal = keeper.release(fault === "hang" ? (running) => running.resume : () => Effect.void)
    const outage = Effect.sleep(lasting).pipe(Effect.ensuring(Effect.andThen(heal, Ref.set(underWay, undefined))))
    yield* Ref.set(underWay, yield* Effect.forkDetach(outage, { startImmediately: true }))
  })
  const end = Effect.flatMap(Ref.get(underWay), (fiber) => (fiber === undefined ? Effect.void : Fiber.interrupt(fiber)))
  return { begin, end } satisfies Outages
})

const apply =
  (fault: Fault) =>
  (running: RunningServer): Effect.Effect<void> => {
    if (fault === "hang") return running.hang
    return fault === "kill" ? running.kill : running.stop
  }
