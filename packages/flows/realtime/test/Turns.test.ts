// However much there is to do at once, sockets have their turn: a backlog of the broker for who is live, and a crowd that comes back together.
import { describe, expect, it } from "@effect/vitest"
import { Position } from "@holdfast/contracts/Ids"
import { Broker, Realtime } from "@holdfast/resilience/Limits"
import { Duration, Effect, Fiber } from "effect"
import { round } from "../src/CatchUp.ts"
import { makeFeed, runFeed } from "../src/Feed.ts"
import { Hub, type Operation, type Sink } from "../src/Hub.ts"
import { BrokerDouble } from "./BrokerDouble.ts"
import { agent, envelope, ticketId } from "./Events.ts"

const bounds = {
  eventsMax: 50_000,
  bytesMax: 1e9,
  ageMsMax: 1e9,
  catchUpEventsMax: Realtime.catchUpEventsMax,
  catchUpBufferedBytesMax: 100,
  catchUpMsMax: 1e9,
  encodedBytesMax: 1e6
}
const reply = (position: number) => envelope({ type: "TicketReplied", position })
const replies = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => reply(from + index))
const after = (position: number, bytes = 1): Operation => ({
  key: "",
  interest: { _tag: "Ticket", id: ticketId(0) },
  after: Position.make(position),
  encode: () => new Uint8Array(bytes)
})

class Taker implements Sink {
  taken = 0
  bufferedBytes = 0
  readonly #took: (taken: number) => void

  constructor(took: (taken: number) => void = () => undefined) {
    this.#took = took
  }

  send(): void {
    this.#took(++this.taken)
  }

  fail(): void {
    expect.unreachable("it has a place")
  }

  overrun(): void {
    expect.unreachable("nobody is slow")
  }
}

describe("sockets have their turn", () => {
  it.live.each([
    ["of many events", Realtime.turnWorkMax + 10, 1],
    ["of a few long ones", 6, 60_000]
  ] as const)("in the middle of a backlog %s that the broker gives in one piece", ([, backlog, bytes]) =>
    Effect.gen(function* () {
      const broker = new BrokerDouble()
      broker.publish(reply(1))
      const hub = new Hub(bounds, () => undefined)
      yield* makeFeed(hub)
      const events = { stateChanged: () => undefined, broken: () => expect.unreachable("the feed broke") }
      const running = yield* Effect.forkChild(Effect.provide(runFeed(hub, events), broker.layer))
      while (hub.state !== "live") yield* Effect.sleep(Duration.millis(1))
      let hadTurn = false
      const done = Promise.withResolvers<boolean>()
      const taker = new Taker((taken) => {
        if (taken === 1) {
          setImmediate(() => {
            hadTurn = true
          })
        }
        if (taken === backlog) done.resolve(hadTurn)
      })
      hub.attach(after(1, bytes), agent, taker, 0)
      broker.publish(...replies(2, backlog + 1))
      expect(yield* Effect.promise(() => done.promise)).toBe(true)
      yield* Fiber.interrupt(running)
    })
  )

  it("between parts of a crowd that comes back at once, and who has waited longest is next", () => {
    const hub = new Hub(bounds, () => undefined)
    for (const event of replies(1, 3 * Realtime.catchUpEventsMax)) hub.append(event)
    hub.setState("live")
    const inOneTurn = Realtime.turnWorkMax / Realtime.catchUpEventsMax
    const crowd = Array.from({ length: 2 * inOneTurn }, () => new Taker())
    for (const taker of crowd) {
      taker.bufferedBytes = 101
      hub.attach(after(0), agent, taker, 0)
    }
    for (const taker of crowd) taker.bufferedBytes = 0
    const taken = () => crowd.map((taker) => taker.taken / Realtime.catchUpEventsMax)
    const half = (parts: number) => Array.from({ length: inOneTurn }, () => parts)
    round(hub, 0)
    expect(taken()).toEqual([...half(1), ...half(0)])
    round(hub, 0)
    expect(taken()).toEqual([...half(1), ...half(1)])
    while (round(hub, 0).has("moved"));
    expect(taken()).toEqual([...half(3), ...half(3)])
  })
})

describe("the limits", () => {
  const seconds = (...durations: ReadonlyArray<Duration.Duration>) =>
    durations.reduce((sum, duration) => sum + Duration.toSeconds(duration), 0)

  it("let a stop move its clients within 20 s, the last of them advised to wait included", () => {
    const { drainCloseDeadline, drainSpreadMax, reconnectAdviceMax } = Realtime
    expect(seconds(drainSpreadMax, drainCloseDeadline, reconnectAdviceMax)).toBeLessThan(20)
  })

  it("tell clients within 3 s that a broker which hangs says nothing", () => {
    expect(seconds(Broker.quietMax, Broker.probeDeadline)).toBeLessThan(3)
  })
})
