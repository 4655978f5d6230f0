// Presence and notifications as clients meet them: two gateways that share signals, staff and customers, what each is told and refused.
import { describe, expect, it, vi } from "@effect/vitest"
import { Presence } from "@holdfast/resilience/Limits"
import { Effect } from "effect"
import { BrokerDouble } from "./BrokerDouble.ts"
import { agent, customer, envelope, otherAgent, otherCustomer, ticketId } from "./Events.ts"
import { SignalsDouble } from "./SignalsDouble.ts"
import { connect, type RawClient, startGateway } from "./World.ts"

const presence = `subscription($id: ID!) { presence(ticketId: $id) { people { id name role state } collision isStaffWriting } }`
const typing = `mutation($id: ID!, $is: Boolean!, $to: Audience!) { typing(ticketId: $id, isTyping: $is, audience: $to) }`
const told = `subscription($after: Position) { myNotifications(after: $after) {
  position kind ticketId fileId actor { id } upTo eventIds } }`
const promise = <A>(run: () => Promise<A>) => Effect.promise(run)
const id = ticketId(0)

/** The busy machine takes its time. */
vi.setConfig({ testTimeout: 30_000 })

interface Seen {
  readonly people: ReadonlyArray<{ readonly id: string; readonly state: string }>
  readonly collision: boolean
  readonly isStaffWriting: boolean
}

/** What is told next of who is there, until it is as asked. */
const until = async (client: RawClient, isIt: (seen: Seen) => boolean): Promise<Seen> => {
  for (;;) {
    const { id: subscription, payload, type } = await client.answer()
    const seen: unknown = subscription === "p" ? payload?.data?.presence : undefined
    if (isSeen(seen) && isIt(seen)) return seen
    expect(type).not.toBe("error")
  }
}
const isSeen = (value: unknown): value is Seen => typeof value === "object" && value !== null && "people" in value

const watching = async (url: string, who: typeof agent) => (await connect(url, who)).subscribe("p", presence, { id })

const types = (client: RawClient, is: boolean, to = "public") =>
  client.say({ id: `t${Math.random()}`, type: "subscribe", payload: { query: typing, variables: { id, is, to } } })

const names = ({ people }: Seen) => people.map((one) => `${one.id} ${one.state}`).join(", ")

describe("presence", () => {
  it.live(
    "shows people at both gateways and warns two who write; while signals are lost each gateway shows its own",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const signals = new SignalsDouble()
          const first = yield* startGateway(new BrokerDouble(), [], {}, signals)
          const second = yield* startGateway(new BrokerDouble(), [], {}, signals)
          const ada = yield* promise(() => watching(first.url, agent))
          const bob = yield* promise(() => watching(second.url, otherAgent))
          const both = "agent-1 viewing, agent-2 viewing"
          yield* promise(() => until(ada, (seen) => names(seen) === both))
          yield* promise(() => until(bob, (seen) => names(seen) === both))
          types(ada, true)
          yield* promise(() =>
            until(bob, (seen) => names(seen) === "agent-1 writing, agent-2 viewing" && !seen.collision)
          )
          types(bob, true, "internal")
          yield* promise(() => until(ada, (seen) => seen.collision))
          types(bob, false)
          yield* promise(() => until(ada, (seen) => !seen.collision))
          signals.isAway = true
          const third = yield* promise(() => watching(second.url, agent))
          yield* promise(() => until(third, (seen) => seen.people.length === 2))
          third.socket.terminate()
          bob.socket.terminate()
          signals.isAway = false
          ada.socket.terminate()
          const last = yield* promise(() => watching(first.url, agent))
          yield* promise(() => until(last, (seen) => names(seen).startsWith("agent-1")))
        })
      )
  )

  it.live("takes the people of a gateway that stops away at once", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const signals = new SignalsDouble()
        const first = yield* startGateway(new BrokerDouble(), [], {}, signals)
        const second = yield* startGateway(new BrokerDouble(), [], {}, signals)
        const ada = yield* promise(() => watching(first.url, agent))
        const bob = yield* promise(() => watching(second.url, otherAgent))
        yield* promise(() => until(bob, (seen) => seen.people.length === 2))
        const before = signals.said.length
        yield* first.stop
        yield* promise(() => until(bob, (seen) => names(seen) === "agent-2 viewing"))
        // The other gateway says meanwhile who is still there.
        expect(signals.said.slice(before).join()).toContain('"v":false')
        for (const { socket } of [ada, bob]) socket.terminate()
      })
    )
  )

  it.live("tells a customer of their own ticket only that the desk writes, and refuses every other ticket", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const world = yield* startGateway(new BrokerDouble())
        const carol = yield* promise(() => watching(world.url, customer))
        const first = yield* promise(() => until(carol, () => true))
        const ada = yield* promise(() => watching(world.url, agent))
        yield* promise(() => until(ada, (seen) => names(seen) === "agent-1 viewing, customer-1 viewing"))
        types(carol, true)
        yield* promise(() => until(ada, (seen) => names(seen) === "customer-1 writing, agent-1 viewing"))
        types(ada, true)
        const second = yield* promise(() => until(carol, (seen) => seen.isStaffWriting))
        expect([first, second]).toEqual([
          { people: [], collision: false, isStaffWriting: false },
          { people: [], collision: false, isStaffWriting: true }
        ])
        const dora = yield* promise(() => connect(world.url, otherCustomer))
        dora.subscribe("p", presence, { id })
        expect(yield* promise(() => dora.answer())).toMatchObject({
          type: "error",
          payload: [{ extensions: { code: "FORBIDDEN" } }]
        })
        types(dora, true)
        expect(yield* promise(() => dora.answer())).toMatchObject({
          type: "next",
          payload: { errors: [{ extensions: { code: "FORBIDDEN" } }] }
        })
        dora.subscribe("p", presence, { id: ticketId(99) })
        expect(yield* promise(() => dora.hear())).toMatchObject({ type: "complete" })
        expect(yield* promise(() => dora.answer())).toMatchObject({
          type: "error",
          payload: [{ extensions: { code: "READ_UNAVAILABLE" } }]
        })
        for (const { socket } of [carol, ada, dora]) socket.terminate()
      })
    )
  )

  it.live(
    "an id that is given up while it is asked whose ticket it is, and used again, is the new subscription's",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const world = yield* startGateway(new BrokerDouble())
          const carol = yield* promise(() => connect(world.url, customer))
          carol.subscribe("p", presence, { id: ticketId(98) })
          yield* promise(() => vi.waitFor(() => expect(world.held).toHaveLength(1)))
          carol.say({ id: "p", type: "complete" })
          carol.subscribe("p", presence, { id })
          yield* promise(() => until(carol, () => true))
          // It was somebody else's, which nobody asks any more.
          world.held.shift()?.()
          const ada = yield* promise(() => watching(world.url, agent))
          types(ada, true)
          yield* promise(() => until(carol, (seen) => seen.isStaffWriting))
          for (const { socket } of [carol, ada]) socket.terminate()
        })
      )
  )

  it.live("takes no more of who writes than its bound, and refuses what is not its document", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const world = yield* startGateway(new BrokerDouble())
        const ada = yield* promise(() => connect(world.url, agent))
        const said: Array<unknown> = []
        for (let n = 0; n < Presence.typingBurstMax + 5; n++) {
          types(ada, true)
          said.push((yield* promise(() => ada.answer())).payload?.data?.typing)
          yield* promise(() => ada.hear())
        }
        expect(said.slice(0, Presence.typingBurstMax)).toEqual(said.slice(0, Presence.typingBurstMax).map(() => true))
        expect(said.at(-1)).toBe(false)
        ada.subscribe("x", "mutation { nothing }")
        expect(yield* promise(() => ada.answer())).toMatchObject({ id: "x", type: "error" })
        ada.socket.terminate()
      })
    )
  )
})

describe("notifications", () => {
  it.live("come to whom they are for, are resumed, and tell other devices what was read", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const broker = new BrokerDouble()
        broker.publish(
          envelope({ type: "TicketReplied", position: 1 }),
          envelope({ type: "FileRejected", position: 2 }),
          envelope({ type: "NotificationsRead", position: 3, stream: 2 }),
          envelope({ type: "TicketAssigned", position: 4 })
        )
        const world = yield* startGateway(broker)
        const carol = yield* promise(() => connect(world.url, customer))
        const other = yield* promise(() => connect(world.url, otherCustomer))
        const ada = yield* promise(() => connect(world.url, agent))
        for (const client of [carol, other, ada]) client.subscribe("n", told, { after: 0 })
        const nothing = { ticketId: null, fileId: null, upTo: null, eventIds: null, actor: { id: "agent-1" } }
        expect((yield* promise(() => carol.changes(3))).n).toEqual([
          { ...nothing, position: 1, kind: "replied", ticketId: id },
          { ...nothing, position: 2, kind: "fileRejected", fileId: expect.any(String) },
          { ...nothing, position: 3, kind: "read", upTo: 2 }
        ])
        const resumed = yield* promise(() => connect(world.url, customer))
        resumed.subscribe("n", told, { after: 1 })
        expect(yield* promise(() => resumed.positions(2))).toEqual([2, 3])
        broker.publish(envelope({ type: "TicketReplied", position: 5 }))
        expect(yield* promise(() => carol.positions(1))).toEqual([5])
        expect(yield* promise(() => resumed.positions(1))).toEqual([5])
        for (const client of [other, ada]) {
          client.say({ type: "ping" })
          expect(yield* promise(() => client.hear())).toMatchObject({ type: "pong" })
        }
        for (const { socket } of [carol, other, ada, resumed]) socket.terminate()
      })
    )
  )
})
