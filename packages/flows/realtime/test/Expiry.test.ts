// A token's end is the end of what its bearer hears: before the next event, not when the sweep next comes by, and by either transport.
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { BrokerDouble } from "./BrokerDouble.ts"
import { ask } from "./EventStreams.ts"
import { customer, envelope, ticketId } from "./Events.ts"
import { connect, type RawClient, startGateway } from "./World.ts"

const query = `subscription($id: ID!, $after: Position) { ticketChanged(id: $id, after: $after) { position } }`
const variables = { id: ticketId(0), after: 0 }
/** Between two sweeps, which come each second. */
const token = `${customer.id}@29.7`
const reply = (position: number) => envelope({ type: "TicketReplied", position })
const expired = { code: 4403, reason: `{"code":"TOKEN_EXPIRED"}` }
const promise = <A>(run: () => Promise<A>) => Effect.promise(run)

const gateway = Effect.gen(function* () {
  const broker = new BrokerDouble()
  broker.publish(reply(1))
  return { broker, world: yield* startGateway(broker) }
})

/** Live after the first event. */
const watching = Effect.gen(function* () {
  const { broker, world } = yield* gateway
  const client = yield* promise(() => connect(world.url, customer, token))
  client.subscribe("a", query, variables)
  expect(yield* promise(() => client.positions(1))).toEqual([1])
  return { broker, client }
})

/** What has come that nobody has taken, once the socket is closed; pings apart. */
const rest = async (client: RawClient): Promise<ReadonlyArray<string>> => {
  const types: Array<string> = []
  for (;;) {
    const next = await Promise.race([client.hear(), new Promise<null>((resolve) => setImmediate(resolve, null))])
    if (next === null) return types.filter((type) => type !== "ping")
    types.push(next.type)
  }
}

describe("a token that ends", () => {
  it.effect("between two events: the second is not sent, though nobody has looked yet", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { broker, client } = yield* watching
        yield* TestClock.adjust("29500 millis")
        broker.publish(reply(2))
        expect(yield* promise(() => client.positions(1))).toEqual([2])
        yield* TestClock.setTime(29_800)
        broker.publish(reply(3), reply(4))
        expect(yield* promise(() => client.closed)).toEqual(expired)
        expect(yield* promise(() => rest(client))).toEqual([])
      })
    )
  )

  it.effect("asks nothing more: a query after the end is not run", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { client } = yield* watching
        yield* TestClock.adjust("29500 millis")
        yield* TestClock.setTime(29_800)
        client.subscribe("q", "{ me }")
        expect(yield* promise(() => client.closed)).toEqual(expired)
        expect(yield* promise(() => rest(client))).toEqual([])
      })
    )
  )

  it.effect("ends an event stream just so", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { broker, world } = yield* gateway
        const stream = yield* promise(() => ask(world.streamUrl, { token, body: { query, variables } }))
        expect(yield* promise(() => stream.positions(1))).toEqual([1])
        yield* TestClock.adjust("29500 millis")
        broker.publish(reply(2))
        expect(yield* promise(() => stream.positions(1))).toEqual([2])
        yield* TestClock.setTime(29_800)
        broker.publish(reply(3))
        const left = yield* promise(() => stream.rest())
        expect(
          left.filter(({ data }) => data?.includes("TicketReplied") === true || data?.includes('"position":3'))
        ).toEqual([])
        expect(JSON.stringify(left)).toContain("TOKEN_EXPIRED")
      })
    )
  )
})
