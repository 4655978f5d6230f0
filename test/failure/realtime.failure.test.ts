// The gateway on both real brokers, through a line that breaks: sockets stay, clients are told, and every event comes exactly once, in
// order, at whichever gateway a client asks.
import { describe, expect, it } from "@effect/vitest"
import { streamOf } from "@holdfast/testkit/Envelopes"
import { Array, Effect, type Scope } from "effect"
import { type Client, createClient } from "graphql-ws"
import { WebSocket } from "ws"
import { embedded, type RunningGateway, rabbitMq, startGateway } from "./RealtimeWorld.ts"

const query = `subscription($id: ID!, $after: Position) { ticketChanged(id: $id, after: $after) { position } }`

interface Watcher {
  readonly positions: (count: number) => Effect.Effect<ReadonlyArray<unknown>>
  /** The next state that the gateway tells. */
  readonly state: (wanted: string) => Effect.Effect<void>
}

/** A client that never comes back by itself: if its socket were lost, its events would end. */
const watch = ({ url }: RunningGateway, after: number): Effect.Effect<Watcher, never, Scope.Scope> =>
  Effect.gen(function* () {
    let told: ReadonlyArray<unknown> = []
    let tell = (): void => undefined
    const client: Client = yield* Effect.acquireRelease(
      Effect.sync(() =>
        createClient({
          url,
          webSocketImpl: WebSocket,
          retryAttempts: 0,
          connectionParams: { authorization: "Bearer test" },
          on: {
            ping: (_received, payload) => {
              told = [...told, payload?.feed]
              tell()
            }
          }
        })
      ),
      (made) => Effect.promise(async () => made.dispose())
    )
    const iterator = client.iterate<{ ticketChanged: { position: number } }>({
      query,
      variables: { id: streamOf("a"), after }
    })
    const take = async (count: number) => {
      const positions: globalThis.Array<unknown> = []
      while (positions.length < count) positions.push((await iterator.next()).value?.data?.ticketChanged.position)
      return positions
    }
    return {
      positions: (count) => Effect.promise(() => take(count)),
      state: (wanted) =>
        Effect.callback<void>((resume) => {
          tell = () => {
            const last = told.at(-1)
            if (typeof last === "object" && last !== null && "state" in last && last.state === wanted)
              resume(Effect.void)
          }
          tell()
        })
    }
  })

const brokers = [
  ["embedded", embedded],
  ["RabbitMQ", rabbitMq]
] as const

describe.each(brokers)("the gateway on the %s broker", (_name, make) => {
  it.live("gives each event once, in order, through an outage, and at another gateway", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const line = yield* make
        yield* line.publish(1, 20)
        const first = yield* startGateway(line)
        const watcher = yield* watch(first, 0)
        expect(yield* watcher.positions(20)).toEqual(Array.range(1, 20))
        yield* line.publish(21, 30)
        expect(yield* watcher.positions(10)).toEqual(Array.range(21, 30))

        yield* line.proxy.set({ _tag: "Refuse" })
        yield* watcher.state("stale")
        yield* line.publish(31, 60)
        yield* line.proxy.set({ _tag: "Pass" })
        expect(yield* watcher.positions(30)).toEqual(Array.range(31, 60))
        yield* watcher.state("live")

        const second = yield* startGateway(line)
        const elsewhere = yield* watch(second, 25)
        expect(yield* elsewhere.positions(35)).toEqual(Array.range(26, 60))
        yield* line.publish(61, 62)
        expect(yield* elsewhere.positions(2)).toEqual([61, 62])
        expect(yield* watcher.positions(2)).toEqual([61, 62])
      })
    )
  )

  it.live("says stale when the line hangs, and loses nothing by it", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const line = yield* make
        yield* line.publish(1, 5)
        const watcher = yield* watch(yield* startGateway(line), 0)
        expect(yield* watcher.positions(5)).toEqual([1, 2, 3, 4, 5])
        yield* line.proxy.set({ _tag: "Hang" })
        yield* line.publish(6, 9)
        yield* watcher.state("stale")
        yield* line.proxy.set({ _tag: "Pass" })
        expect(yield* watcher.positions(4)).toEqual([6, 7, 8, 9])
      })
    )
  )

  it.live("starts while the broker is away, and serves once it is there", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const line = yield* make
        yield* line.publish(1, 5)
        yield* line.proxy.set({ _tag: "Refuse" })
        const watcher = yield* watch(yield* startGateway(line), 3)
        yield* line.proxy.set({ _tag: "Pass" })
        expect(yield* watcher.positions(2)).toEqual([4, 5])
      })
    )
  )
})
