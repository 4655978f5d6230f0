// A token's end is the end of what its bearer hears: before the next event, not when the sweep next comes by.
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { BrokerDouble } from "./BrokerDouble.ts"
import { customer, envelope, ticketId } from "./Events.ts"
import { connect, type RawClient, startGateway } from "./World.ts"

const query = `subscription($id: ID!, $after: Position) { ticketChanged(id: $id, after: $after) { position } }`
const reply = (position: number) => envelope({ type: "TicketReplied", position })
const expired = { code: 4403, reason: `{"code":"TOKEN_EXPIRED"}` }
const promise = <A>(run: () => Promise<A>) => Effect.promise(run)

/** A customer whose token ends between two sweeps, which come each second; live after the first event. */
const watching = Effect.gen(function* () {
  const broker = new BrokerDouble()
  const { url } = yield* startGateway(broker)
  const client = yield* promise(() => connect(url, customer, `${customer.id}@29.7`))
  client.subscribe("a", query, { id: ticketId(0), after: 0 })
  broker.publish(reply(1))
  expect(yield* promise(() => client.positions(1))).toEqual([1])
  return { broker, client }
})

/** What has come that nobody has taken, once the socket is closed. */
const rest = async (client: RawClient): Promise<ReadonlyArray<string>> => {
  const types: Array<string> = []
  for (;;) {
    const next = await Promise.race([client.hear(), new Promise<null>((resolve) => setImmediate(resolve, null))])
    if (next === null) return types
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
        expect((yield* promise(() => rest(client))).filter((type) => type !== "ping")).toEqual([])
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
        expect((yield* promise(() => rest(client))).filter((type) => type !== "ping")).toEqual([])
      })
    )
  )
})
