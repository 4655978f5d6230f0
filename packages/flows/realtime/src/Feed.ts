// The feed of events into the hub: loads the window, follows the broker, and goes on from the last position when the broker was away.
// It never ends and never gives up; while the broker is lost it says so, and nobody is disconnected for it. It counts as live from where the
// broker says that the present is: who took silence for it would send clients back that are ahead of a window half loaded.
import { type AnotherLog, atPresent, Broker, type Change } from "@holdfast/broker/Broker"
import type { Position } from "@holdfast/contracts/Ids"
import { Realtime } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Clock, Duration, Effect, Exit, Option, Random, Stream } from "effect"
import type { FeedState, Hub } from "./Hub.ts"
import { beginTurn, nextTurn } from "./Turn.ts"

/** What clients are told of the feed. */
export interface FeedReport {
  readonly state: "live" | "stale"
  /** Everything up to here has been sent. */
  readonly position?: Position
}

export interface Feed {
  readonly nowMs: () => number
  /** The position is left out for a client that has not been sent everything yet. */
  readonly report: (isCaughtUp: boolean) => FeedReport
}

export interface FeedEvents {
  readonly stateChanged: (state: FeedState) => void
  /** The hub broke in the middle of an event: who has it and who has not is unknown. */
  readonly broken: () => void
}

export const makeFeed = Effect.fnUntraced(function* (hub: Hub) {
  const clock = yield* Clock.Clock
  const feed: Feed = {
    nowMs: () => clock.currentTimeMillisUnsafe(),
    report: (isCaughtUp) => {
      const state = hub.state === "live" ? "live" : "stale"
      const { head } = hub.window
      return isCaughtUp && head !== null ? { state, position: head } : { state }
    }
  }
  return feed
})

export const runFeed = Effect.fnUntraced(function* (hub: Hub, events: FeedEvents) {
  const broker = yield* Broker
  let failures = 0
  let isRefused = false
  const setState = (state: FeedState) =>
    Effect.suspend(() => {
      if (hub.state === state) return Effect.void
      hub.setState(state)
      events.stateChanged(state)
      if (state === "live") failures = 0
      return Effect.logInfo("feed state", { state, position: hub.window.head, events: hub.window.size })
    })
  const readOnce = Effect.gen(function* () {
    // A broker that no longer holds what comes next refuses; then its whole window is read again, and a gap shows itself.
    const after = isRefused ? Option.none() : Option.fromNullOr(hub.window.head)
    // Nothing more is read while this goes on, so a broker that has much to tell is held back by what the sockets take.
    const take = Effect.fnUntraced(function* (changes: ReadonlyArray<Change>) {
      let isOver = beginTurn(hub)
      for (const change of changes) {
        if (change === atPresent) yield* setState("live")
        else hub.append(change)
        if (!isOver()) continue
        yield* nextTurn
        isOver = beginTurn(hub)
      }
    })
    const exit = yield* Effect.exit(Stream.runForEachArray(broker.changes(after), take))
    if (isOfAnotherLog(exit)) hub.forget()
    isRefused = refusedBy(exit)
    yield* setState("stale")
    yield* report(exit, events, failures)
  })
  return yield* Effect.forever(
    Effect.andThen(
      readOnce,
      Effect.suspend(() => pause(failures++))
    )
  )
})

type FeedExit = Exit.Exit<unknown, Unavailable | AnotherLog>

const refusedBy = (exit: FeedExit): boolean =>
  Option.exists(Exit.findErrorOption(exit), (error) => error._tag === "Unavailable" && error.reason === "refused")

const isOfAnotherLog = (exit: FeedExit): boolean =>
  Option.exists(Exit.findErrorOption(exit), ({ _tag }) => _tag === "AnotherLog")

/** Once per outage as a warning: the attempts after it are many and say nothing new. */
const report = (exit: FeedExit, events: FeedEvents, failures: number) => {
  if (Exit.isSuccess(exit)) return Effect.logWarning("the feed ended; it is read again")
  const error = Exit.findErrorOption(exit)
  if (Option.isSome(error)) {
    const log = failures === 0 ? Effect.logWarning : Effect.logDebug
    return log(
      "the feed is lost; it is read again",
      error.value._tag === "Unavailable"
        ? { reason: error.value.reason, detail: error.value.detail }
        : { detail: error.value.message }
    )
  }
  return Effect.andThen(Effect.sync(events.broken), Effect.logError("the feed broke", exit.cause))
}

const pause = Effect.fnUntraced(function* (failures: number) {
  const minMs = Duration.toMillis(Realtime.reconnectDelayMin)
  const maxMs = Duration.toMillis(Realtime.reconnectDelayMax)
  const fullMs = Math.min(maxMs, minMs * 2 ** Math.min(failures, 10))
  yield* Effect.sleep(Duration.millis(yield* Random.nextBetween(fullMs / 2, fullMs)))
})
