// A thousand cuts against real gateways over real sockets, while events flow: each client is cut in the middle of whatever it was being sent,
// comes back to the other copy with the position of the last event it had, and in the end has every event once.
import { describe, expect, it, vi } from "@effect/vitest"
import { Effect } from "effect"
import { WebSocket } from "ws"
import { BrokerDouble } from "./BrokerDouble.ts"
import { agent, customer, envelope, ticketId } from "./Events.ts"
import { connect, type RawClient, startGateway, type World } from "./World.ts"

const clients = 10
const cutsEach = 100
const query = `subscription($id: ID!, $after: Position) { ticketChanged(id: $id, after: $after) { position type } }`

/** How many events each line gives before it is cut: the same in every run. */
const takenBy = (client: number, cut: number): number => (client * 7 + cut * 13) % 6

const reply = (position: number) => envelope({ type: "TicketReplied", position })
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** What a socket still brings after its end counts for nothing: the client that had it is gone. */
const cut = (client: RawClient, isPolite: boolean): Promise<unknown> => {
  if (isPolite) client.socket.close()
  else client.socket.terminate()
  return client.closed
}

/** A busy machine takes its time over a thousand handshakes. */
vi.setConfig({ testTimeout: 60_000 })

describe("a thousand reconnects", () => {
  it.live("between two gateways while events flow: nothing missing, nothing repeated", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const broker = new BrokerDouble()
        const worlds = [yield* startGateway(broker), yield* startGateway(broker)] as const
        // So far from a client's pace that some lines end while it catches up and others while it is live.
        const flow = (to: number) => {
          while (broker.log.length < to) broker.publish(reply(broker.log.length + 1))
        }
        flow(50)
        const received = yield* Effect.promise(() =>
          Promise.all(range(0, clients - 1).map((index) => follow(index, worlds, flow)))
        )
        const last = broker.log.length
        for (const [index, positions] of received.entries()) {
          const rest = yield* Effect.promise(() => takeUpTo(worlds[index % 2 === 0 ? 0 : 1], positions, last))
          expect([...positions, ...rest]).toEqual(range(1, last))
        }
      })
    )
  )

  const follow = async (
    index: number,
    worlds: readonly [World, World],
    flow: (to: number) => void
  ): Promise<ReadonlyArray<number>> => {
    const positions: Array<number> = []
    for (let at = 0; at < cutsEach; at++) {
      const client = await connect(worlds[(index + at) % 2 === 0 ? 0 : 1].url, index % 2 === 0 ? agent : customer)
      const after = positions.at(-1) ?? 0
      client.subscribe("a", query, { id: ticketId(0), after })
      flow(after + takenBy(index, at) + (at % 3))
      for (const position of await client.positions(takenBy(index, at))) positions.push(Number(position))
      await cut(client, at % 5 === 0)
    }
    return positions
  }

  const takeUpTo = async ({ url }: World, positions: ReadonlyArray<number>, last: number) => {
    const client = await connect(url, agent)
    const after = positions.at(-1) ?? 0
    client.subscribe("a", query, { id: ticketId(0), after })
    const rest = await client.positions(last - after)
    expect(client.socket.readyState).toBe(WebSocket.OPEN)
    client.socket.terminate()
    return rest
  }
})
