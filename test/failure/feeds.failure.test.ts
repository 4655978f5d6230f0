// The typed client's feed over two real gateways on a real RabbitMQ, cut again and again while events flow: it comes back by itself, elsewhere, by
// socket or by event stream, and has each change once and in order. When it was away for longer than the gateways' window reaches, it reads a snapshot by itself, says so,
// and goes on where that stands.
import { describe, expect, it } from "@effect/vitest"
import { createClient } from "@holdfast/client"
import type { FeedItem } from "@holdfast/client/Feeds"
import { realTiming } from "@holdfast/client/Timing"
import { streamOf } from "@holdfast/testkit/Envelopes"
import { faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { Effect } from "effect"
import { until } from "../flows/Clients.ts"
import { rabbitMq, startGateway } from "./RealtimeWorld.ts"

const queries = "http://desk.test"
const windowEventsMax = 40
const cuts = 25

type Item = FeedItem<{ readonly body: string | null }, unknown>

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)
const positionsOf = (items: ReadonlyArray<Item>) =>
  items.flatMap((item) => (item.type === "change" ? [item.position] : []))

const world = Effect.gen(function* () {
  const line = yield* rabbitMq
  const gateways = [
    yield* startGateway(line, { windowEventsMax }),
    yield* startGateway(line, { windowEventsMax })
  ] as const
  const doors = [yield* faultProxy(targetOf(gateways[0].url)), yield* faultProxy(targetOf(gateways[1].url))] as const
  let published = 0
  /** What a query reads lags behind the log. */
  const answer = () => {
    const freshness = { source: "live", asOf: new Date().toISOString(), position: Math.max(0, published - 7) }
    return new Response(JSON.stringify({ data: { ticket: null }, extensions: { freshness } }))
  }
  const client = yield* Effect.acquireRelease(
    Effect.sync(() =>
      createClient({
        urls: {
          commands: "",
          queries,
          realtime: [doors[0].through(gateways[0].url), doors[1].through(gateways[1].url)],
          files: ""
        },
        token: () => "test",
        // Cut so often it takes to event streams now and then, which are real.
        fetch: async (input, init) => (String(input).startsWith(queries) ? answer() : fetch(input, init)),
        timing: { ...realTiming, sleep: (ms, signal) => realTiming.sleep(ms / 50, signal) }
      })
    ),
    (made) => Effect.sync(() => made.close())
  )
  const items: Array<Item> = []
  const stopping = new AbortController()
  yield* Effect.addFinalizer(() => Effect.sync(() => stopping.abort()))
  const follow = async () => {
    for await (const item of client.feeds.ticket(streamOf("a"), { from: 0, signal: stopping.signal })) items.push(item)
  }
  const following = follow()
  following.catch((error: unknown) => items.push({ type: "ended", code: "THREW", message: String(error) }))
  return {
    items,
    publish: (count: number) => {
      if (count === 0) return Effect.void
      const from = published + 1
      published += count
      return line.publish(from, published)
    },
    published: () => published,
    gatewaysReached: () => Effect.forEach(gateways, ({ reached }) => reached(published)),
    close: Effect.forEach(doors, (door) => door.set({ _tag: "Refuse" })),
    open: Effect.forEach(doors, (door) => door.set({ _tag: "Pass" }))
  }
})

const has = (items: ReadonlyArray<Item>, position: number) =>
  Effect.promise(() =>
    until(`the feed has event ${position}`, async () => {
      const ended = items.find(({ type }) => type === "ended")
      if (ended !== undefined) throw new Error(JSON.stringify(ended))
      return positionsOf(items).at(-1) === position ? true : null
    })
  )

describe("the client's feed", () => {
  it.live("goes on by itself over many cuts, and over one that outlasts the window", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { close, gatewaysReached, items, open, publish, published } = yield* world
        for (let cut = 0; cut < cuts; cut++) {
          yield* publish(1 + (cut % 4))
          // Sometimes everything has come before the cut, sometimes not.
          if (cut % 3 === 0) yield* has(items, published())
          yield* close
          yield* publish(cut % 2)
          yield* open
        }
        yield* has(items, published())
        expect(positionsOf(items)).toEqual(range(1, published()))
        expect(items.filter(({ type }) => type === "snapshot")).toEqual([])

        yield* close
        const seen = items.length
        yield* publish(3 * windowEventsMax)
        yield* gatewaysReached()
        yield* open
        yield* has(items, published())
        yield* publish(2)
        yield* has(items, published())
        const later = items.slice(seen)
        const snapshots = later.flatMap((item) => (item.type === "snapshot" ? [item] : []))
        const stands = published() - 2 - 7
        expect(snapshots).toMatchObject([{ reason: "resync", position: stands }])
        expect(positionsOf(later)).toEqual(range(stands + 1, published()))
      })
    )
  )
})
