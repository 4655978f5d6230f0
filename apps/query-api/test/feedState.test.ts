// What the page says of its feed is true, and since when.
import { describe, expect, it } from "vitest"
import { type FeedEvent, feedAfter, feedWords, initialFeed } from "../src/page/feedState.js"

const after = (...events: ReadonlyArray<FeedEvent>) =>
  events.reduce((state, event, index) => feedAfter(state, event, index + 1), initialFeed(0))
const words = (...events: ReadonlyArray<FeedEvent>) => feedWords(after(...events), (instant) => `t${instant}`)

const greeted = (position: number, state = "live"): FeedEvent => ({ type: "greeted", feed: { state, position } })
const reached = (position: number): FeedEvent => ({ type: "reached", position })
const cut: FeedEvent = { type: "cut" }

describe("the feed", () => {
  it("is live only once everything is shown that the gateway had at its greeting", () => {
    expect(words()).toBe("Connecting")
    expect(words(greeted(5))).toBe("Catching up")
    expect(words(greeted(5), reached(4))).toBe("Catching up")
    expect(words(greeted(5), reached(5))).toBe("Live")
    expect(words(reached(5), greeted(5))).toBe("Live")
    expect(words(greeted(5), { type: "told", feed: { state: "live", position: 6 } })).toBe("Live")
  })

  it("is stale when the gateway says so, until it says otherwise, and nothing else ends that", () => {
    const stale: FeedEvent = { type: "told", feed: { state: "stale" } }
    expect(words(reached(5), greeted(5), stale)).toMatch(/^Stale since t3:/)
    expect(words(reached(5), greeted(5), stale, reached(6))).toMatch(/^Stale since t3:/)
    expect(words(reached(5), greeted(5), stale, { type: "told", feed: { state: "live" } })).toBe("Live")
    expect(words(greeted(5, "stale"), reached(5))).toMatch(/^Stale since t1:/)
  })

  it("is cut off since the first cut, however often it tries again, and then catches up", () => {
    expect(words(greeted(5), reached(5), cut)).toBe("Cut off since t3, trying again")
    expect(words(greeted(5), reached(5), cut, cut, cut)).toBe("Cut off since t3, trying again")
    expect(words(greeted(5), reached(5), cut, reached(6))).toBe("Cut off since t3, trying again")
    expect(words(greeted(5), reached(5), cut, greeted(7))).toBe("Catching up")
    expect(words(greeted(5), reached(5), cut, greeted(7), reached(7))).toBe("Live")
  })

  it("says what it was refused with", () => {
    expect(words(greeted(5), { type: "refused", sentence: "The token's time is over" })).toBe(
      "The token's time is over"
    )
  })
})
