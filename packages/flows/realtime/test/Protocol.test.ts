// Each rule of the text "GraphQL over WebSocket Protocol", by its name, held against the real gateway: through the client of graphql-ws where it
// can show it, and by frames of our own where a right client cannot. What is wrong in other ways stands in RawFrames.test.ts.
import { describe, expect, it, vi } from "@effect/vitest"
import { type Client, createClient } from "graphql-ws"
import { WebSocket } from "ws"
import { agent, ticketId } from "./Events.ts"
import { RawLine } from "./RawLine.ts"
import { emptied, patient, reply, withGateway } from "./Running.ts"
import { connect, type World } from "./World.ts"

vi.setConfig({ testTimeout: 30_000 })

const changes = `subscription($id: ID!, $after: Position) { ticketChanged(id: $id, after: $after) { position } }`
const list = `subscription($after: Position) { ticketListChanged(list: all, after: $after) { position } }`
const variables = { id: ticketId(0), after: 2 }
const init = { type: "connection_init", payload: { authorization: `Bearer ${agent.id}` } }
const subscribe = (id: string, query: string, given: Record<string, unknown> = {}) => ({
  id,
  type: "subscribe",
  payload: { query, variables: given }
})

interface Listener {
  readonly connected?: (payload: unknown) => void
  readonly closed?: (event: unknown) => void
  readonly message?: (message: { readonly type: string; readonly id?: string }) => void
}

const clientOf = ({ url }: World, listener: Listener = {}, token: string = agent.id): Client =>
  createClient({
    url,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    connectionParams: { authorization: `Bearer ${token}` },
    on: {
      connected: (_socket, payload) => listener.connected?.(payload),
      closed: (event) => listener.closed?.(event),
      message: (message) => listener.message?.(message)
    }
  })

const firstOf = async (client: Client, query: string, given: Record<string, unknown> = {}) => {
  for await (const result of client.iterate({ query, variables: given })) return result
  return null
}

describe("communication", () => {
  it.live("the sub-protocol of the answered handshake is graphql-transport-ws, whatever else was offered", () =>
    withGateway(async ({ url }) => {
      for (const offered of ["graphql-transport-ws", "graphql-ws, graphql-transport-ws"]) {
        const line = new RawLine(url, [`Sec-WebSocket-Protocol: ${offered}`])
        expect(await line.answer).toMatch(/^HTTP\/1.1 101 [\s\S]*\r\nSec-WebSocket-Protocol: graphql-transport-ws$/im)
        line.cut()
      }
    })
  )

  it.live("every message is a text of JSON with a type, and with the id of its operation", () =>
    withGateway(async ({ url }) => {
      const line = new RawLine(url).say(init, subscribe("s", list, { after: 2 }), { type: "ping" })
      for (let heard = 0; heard < 3; heard++) {
        const frame = await line.hear()
        expect(frame?.opcode).toBe(1)
        const message = JSON.parse(String(frame?.payload))
        expect(message.type).toMatch(/^(connection_ack|next|pong)$/)
        expect("id" in message).toBe(message.type === "next")
        if (message.type === "connection_ack") line.say(subscribe("s", list, { after: 2 }), { type: "ping" })
      }
      line.cut()
    })
  )

  it.live("several operations are active at once, and their messages are told apart by their ids", () =>
    withGateway(async (world, broker) => {
      const client = clientOf(world)
      const [one, two] = [client.iterate({ query: changes, variables }), client.iterate({ query: list, variables })]
      for (const position of [3, 4, 5]) {
        if (position > 3) broker.publish(reply(position))
        const [left, right] = [await one.next(), await two.next()]
        expect([left.value.data, right.value.data]).toEqual([
          { ticketChanged: { position } },
          { ticketListChanged: { position } }
        ])
      }
      expect((await firstOf(client, "{ me }"))?.data).toMatchObject({ me: agent.id })
      await client.dispose()
    })
  )

  it.live("a client that closes with 1000 is gone, with all its operations", () =>
    withGateway(async (world) => {
      const closed = Promise.withResolvers<unknown>()
      const client = clientOf(world, { closed: closed.resolve })
      const events = client.iterate({ query: changes, variables })
      await events.next()
      await client.dispose()
      expect(await closed.promise).toMatchObject({ code: 1000 })
      await emptied(world)
    })
  )
})

describe("ConnectionInit and ConnectionAck", () => {
  it.live("an init is acknowledged, with how the feed is", () =>
    withGateway(async (world) => {
      const connected = Promise.withResolvers<unknown>()
      const client = clientOf(world, { connected: connected.resolve })
      await firstOf(client, "{ me }")
      expect(await connected.promise).toEqual({ feed: { state: "live", position: 3 } })
      await client.dispose()
    })
  )

  it.live("4403: a token that is refused; the client is told so, and nothing else", () =>
    withGateway(async (world) => {
      const closed = Promise.withResolvers<unknown>()
      const client = clientOf(world, { closed: closed.resolve }, "nobody")
      await expect(firstOf(client, "{ me }")).rejects.toMatchObject({ code: 4403 })
      expect(await closed.promise).toMatchObject({ code: 4403, reason: `{"code":"UNAUTHENTICATED"}` })
    })
  )

  it.live("4408: no init within the time allowed", () =>
    withGateway(async ({ url }) => {
      expect((await new RawLine(url).ended()).code).toBe(4408)
    })
  )

  it.live("4429: more than one init, at any time", () =>
    withGateway(async ({ held, url }) => {
      const early = { ...init, payload: { authorization: "Bearer held-agent-1" } }
      expect((await new RawLine(url).say(early, init).ended()).code).toBe(4429)
      const line = await new RawLine(url).acknowledged(agent.id)
      line.say(subscribe("a", list))
      expect((await line.say(init).ended()).code).toBe(4429)
      for (const goOn of held) goOn()
    })
  )
})

describe("Ping and Pong", () => {
  it.live("a pong must be sent for a ping at once, at any time: before init, after it, and among events", () =>
    withGateway(async ({ url }) => {
      const line = new RawLine(url)
      expect(await line.say({ type: "ping", payload: { at: 1 } }).message()).toEqual({
        type: "pong",
        payload: { at: 1 }
      })
      await line.acknowledged(agent.id)
      expect(await line.say({ type: "ping" }).message()).toEqual({ type: "pong" })
      line.say(subscribe("a", list, { after: 2 }), { type: "ping" })
      expect([(await line.message()).type, (await line.message()).type]).toEqual(["next", "pong"])
      line.cut()
    })
  )

  it.live("a pong may come unasked, with or without a payload", () =>
    withGateway(async (world) => {
      const client = await connect(world.url, agent)
      client
        .say({ type: "pong" })
        .say({ type: "pong", payload: { x: 1 } })
        .say({ type: "ping" })
      expect(await client.hear()).toEqual({ type: "pong" })
      client.socket.terminate()
    })
  )

  it.live("the gateway pings too, and a client that answers is kept", () =>
    withGateway(async (world, broker) => {
      const pinged = Promise.withResolvers<unknown>()
      const client = clientOf(world, { message: (message) => message.type === "ping" && pinged.resolve(message) })
      const events = client.iterate({ query: changes, variables })
      await events.next()
      broker.lose()
      expect(await pinged.promise).toEqual({ type: "ping", payload: { feed: { state: "stale", position: 3 } } })
      broker.isAway = false
      broker.publish(reply(4))
      expect((await events.next()).value.data.ticketChanged.position).toBe(4)
      await client.dispose()
    })
  )
})

describe("Subscribe", () => {
  it.live("4401: executing before the acknowledgement closes the socket immediately", () =>
    withGateway(async ({ held, url }) => {
      expect((await new RawLine(url).say(subscribe("a", list)).ended()).code).toBe(4401)
      const waits = { ...init, payload: { authorization: "Bearer held-agent-1" } }
      expect((await new RawLine(url).say(waits, subscribe("a", list)).ended()).code).toBe(4401)
      for (const goOn of held) goOn()
    })
  )

  it.live("4409: an id that an active operation has, regardless of its type, closes the socket and says which", () =>
    withGateway(async ({ held, url }) => {
      for (const [first, second] of [
        [list, list],
        [list, "{ me }"],
        ["{ held }", list],
        ["{ held }", "{ me }"]
      ] as const) {
        const line = await new RawLine(url).acknowledged(agent.id)
        const ending = await line.say(subscribe("a", first), subscribe("a", second)).ended()
        expect(ending).toEqual({ code: 4409, reason: "Subscriber for a already exists" })
      }
      await vi.waitUntil(() => held.length === 2, patient)
      for (const goOn of held) goOn()
    })
  )

  it.live("once the client completes an operation it is free to use its id again", () =>
    withGateway(async ({ url }) => {
      const line = await new RawLine(url).acknowledged(agent.id)
      for (let round = 0; round < 20; round++) {
        line.say(subscribe("a", list, { after: 2 }))
        expect(await line.message()).toMatchObject({ id: "a", type: "next" })
        line.say({ id: "a", type: "complete" })
      }
      line.cut()
    })
  )
})

describe("Next, Error and Complete", () => {
  it.live("a single result operation gives one next, then complete, and then its id is free", () =>
    withGateway(async (world) => {
      const messages: Array<string> = []
      const client = clientOf(world, { message: ({ id, type }) => id !== undefined && messages.push(type) })
      expect((await firstOf(client, "query($x: Int) { me }", { x: 1 }))?.data).toEqual({
        me: agent.id,
        variables: { x: 1 }
      })
      await vi.waitUntil(() => messages.includes("complete"), patient)
      expect(messages.filter((type) => type !== "subscribe")).toEqual(["next", "complete"])
      await client.dispose()
    })
  )

  it.live("a result with errors of execution is a next, as GraphQL has it", () =>
    withGateway(async (world) => {
      const client = clientOf(world)
      expect(await firstOf(client, "{ broken }")).toMatchObject({
        errors: [{ extensions: { code: "BAD_USER_INPUT" } }]
      })
      await client.dispose()
    })
  )

  it.live("an error terminates the operation: no next and no complete follow, and the socket stays", () =>
    withGateway(async (world, broker) => {
      const client = await connect(world.url, agent)
      client.subscribe("a", "subscription { nothing }")
      expect(await client.hear()).toMatchObject({ id: "a", type: "error", payload: [{ message: expect.any(String) }] })
      broker.publish(reply(4))
      expect(await client.say({ type: "ping" }).hear()).toEqual({ type: "pong" })
      client.subscribe("a", list, { after: 3 })
      expect(await client.hear()).toMatchObject({ id: "a", type: "next" })
      client.socket.terminate()
    })
  )

  it.live("an error may come during the operation too, and terminates it just so", () =>
    withGateway(async (world, broker) => {
      const client = await connect(world.url, agent)
      client.subscribe("a", changes, { id: ticketId(0), after: 2 })
      expect(await client.answer()).toMatchObject({ type: "next" })
      broker.lose()
      broker.publish(...[4, 5, 6, 7].map(reply))
      broker.retainedFrom = 7
      broker.isAway = false
      expect(await client.answer()).toMatchObject({
        id: "a",
        type: "error",
        payload: [{ extensions: { code: "RESYNC_REQUIRED" } }]
      })
      broker.publish(reply(8))
      expect(await client.say({ type: "ping" }).answer()).toEqual({ type: "pong" })
      client.socket.terminate()
    })
  )

  it.live(
    "after a client's complete nothing more is sent for the operation, be it a subscription or a query under way",
    () =>
      withGateway(async (world, broker) => {
        const client = await connect(world.url, agent)
        client.subscribe("s", list, { after: 3 }).subscribe("q", "{ held }")
        await vi.waitUntil(() => world.held.length === 1, patient)
        client.say({ id: "s", type: "complete" }).say({ id: "q", type: "complete" }).say({ type: "ping" })
        expect(await client.hear()).toEqual({ type: "pong" })
        world.held[0]?.()
        broker.publish(reply(4))
        expect(await client.say({ type: "ping" }).hear()).toEqual({ type: "pong" })
        client.socket.terminate()
      })
  )

  it.live("a complete for what is over already, or was never there, is ignored", () =>
    withGateway(async (world) => {
      const client = await connect(world.url, agent)
      client.subscribe("q", "{ me }")
      expect([(await client.hear()).type, (await client.hear()).type]).toEqual(["next", "complete"])
      client.subscribe("e", "subscription { nothing }")
      expect((await client.hear()).type).toBe("error")
      for (const id of ["q", "e", "never"]) client.say({ id, type: "complete" })
      expect(await client.say({ type: "ping" }).hear()).toEqual({ type: "pong" })
      client.socket.terminate()
    })
  )

  it.live("a mutation is refused with an error that says where writing goes", () =>
    withGateway(async (world) => {
      const client = clientOf(world)
      await expect(firstOf(client, "mutation { closeTicket }")).rejects.toMatchObject([
        { message: expect.stringContaining("command API"), extensions: { code: "BAD_USER_INPUT" } }
      ])
      await client.dispose()
    })
  )

  it.live("of several operations the named one runs; a name that is not there, or none, is an error", () =>
    withGateway(async (world) => {
      const client = await connect(world.url, agent)
      const query = `${changes.replace("(", " A(")} ${list.replace("(", " B(")}`
      const say = (operationName: string | null) =>
        client.say({ id: "a", type: "subscribe", payload: { query, operationName, variables } })
      for (const name of ["C", null]) {
        say(name)
        expect(await client.hear()).toMatchObject({
          type: "error",
          payload: [{ message: expect.stringContaining("operationName") }]
        })
      }
      say("B")
      expect(await client.hear()).toMatchObject({
        type: "next",
        payload: { data: { ticketListChanged: { position: 3 } } }
      })
      client.socket.terminate()
    })
  )
})

describe("an invalid message", () => {
  it.live("4400: closes the socket immediately, with a word on why", () =>
    withGateway(async ({ url }) => {
      const line = await new RawLine(url).acknowledged(agent.id)
      const ending = await line.say(subscribe("a", list, { after: 0 }), { type: "unknown" }).ended()
      expect(ending.code).toBe(4400)
      expect(ending.reason).not.toBe("")
    })
  )
})
