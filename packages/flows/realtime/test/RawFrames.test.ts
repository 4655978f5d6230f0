// What a client may send that is wrong, byte by byte, and what the gateway then says: over a real connection, with nothing between. Whatever
// comes, it ends one socket at the most, with a code that tells why, and nobody hears anything before they have shown a token.
import { describe, expect, it, vi } from "@effect/vitest"
import { Realtime } from "@holdfast/resilience/Limits"
import { Effect } from "effect"
import { agent } from "./Events.ts"
import { type FrameToSend, RawLine } from "./RawLine.ts"
import { patient, reply, withGateway } from "./Running.ts"

/** One of the deadlines tested is 3 s. */
vi.setConfig({ testTimeout: 30_000 })

const init = (token: string = agent.id) => ({
  type: "connection_init",
  payload: { authorization: `Bearer ${token}` }
})
const subscribe = (id: string, query: string, variables: Record<string, unknown> = {}) => ({
  id,
  type: "subscribe",
  payload: { query, variables }
})
const list = "subscription($after: Position) { ticketListChanged(list: all, after: $after) { position } }"
const ack = { type: "connection_ack", payload: { feed: { state: "live", position: 3 } } }

const frames = (...sent: ReadonlyArray<FrameToSend>) => sent

describe("a frame that is wrong", () => {
  const wrong: ReadonlyArray<readonly [string, number, ReadonlyArray<FrameToSend>]> = [
    ["is not masked", 1002, frames({ payload: "{}", isMasked: false })],
    [
      "has the first reserved bit, compression that was not agreed on",
      1002,
      frames({ payload: "{}", reservedBits: 4 })
    ],
    ["has another reserved bit", 1002, frames({ payload: "{}", reservedBits: 1 })],
    ["has an opcode that does not exist", 1002, frames({ opcode: 3, payload: "{}" })],
    ["is a ping of more than 125 bytes", 1002, frames({ opcode: 9, payload: "x".repeat(126) })],
    ["is a ping in pieces", 1002, frames({ opcode: 9, isFinal: false })],
    ["continues nothing", 1002, frames({ opcode: 0, payload: "{}" })],
    ["begins a message within a message", 1002, frames({ payload: "{", isFinal: false }, { payload: "}" })],
    ["is not UTF-8", 1007, frames({ payload: new Uint8Array([0x22, 0xff, 0x22]) })],
    ["ends in the middle of a character", 1007, frames({ payload: new Uint8Array([0x22, 0xe2, 0x82]) })],
    ["is a close with half a code", 1002, frames({ opcode: 8, payload: new Uint8Array([3]) })],
    ["is a close with a code that nobody may send", 1002, frames({ opcode: 8, payload: new Uint8Array([3, 237]) })],
    ["is too large", 1009, frames({ payload: "x".repeat(65_537) })],
    [
      "is too large in pieces",
      1009,
      Array.from({ length: 9 }, (_, at) => ({ opcode: at === 0 ? 1 : 0, isFinal: false, payload: "x".repeat(8192) }))
    ],
    ["is binary", 4400, frames({ opcode: 2, payload: JSON.stringify(init()) })]
  ]

  it.live.each(wrong)("that %s ends the socket with %i, before a token was shown and after it", ([, code, sent]) =>
    withGateway(async ({ url }) => {
      expect((await new RawLine(url).frames(...sent).ended()).code).toBe(code)
      const known = await new RawLine(url).acknowledged(agent.id)
      expect((await known.frames(...sent).ended()).code).toBe(code)
    })
  )

  it.live("announces more than memory holds: nothing is waited for", () =>
    withGateway(async ({ url }) => {
      const head = Buffer.from([0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])
      expect((await new RawLine(url).write(head).ended()).code).toBe(1009)
    })
  )
})

describe("a message that is wrong", () => {
  const wrong: ReadonlyArray<readonly [string, unknown]> = [
    ["no JSON", "{"],
    ["empty", ""],
    ["null", null],
    ["a list", []],
    ["a number", 1],
    ["a text", '"ping"'],
    ["without a type", {}],
    ["of a type that is no text", { type: 1 }],
    ["of an unknown type", { type: "start", id: "a" }],
    ["of an inherited type", { type: "constructor" }],
    ["a ping with a text as payload", { type: "ping", payload: "x" }],
    ["an init with a list as payload", { type: "connection_init", payload: [] }],
    ["a subscription without an id", { type: "subscribe", payload: { query: list } }],
    ["a subscription with an empty id", subscribe("", list)],
    ["a subscription with a number as id", { type: "subscribe", id: 1, payload: { query: list } }],
    ["a subscription without a payload", { type: "subscribe", id: "a" }],
    ["a subscription without a query", { type: "subscribe", id: "a", payload: {} }],
    [
      "a subscription with a list of variables",
      { type: "subscribe", id: "a", payload: { query: list, variables: [] } }
    ],
    ["a complete without an id", { type: "complete" }],
    ["an acknowledgement, which only a server sends", { type: "connection_ack" }],
    ["a next, which only a server sends", { type: "next", id: "a", payload: { data: {} } }],
    ["an error, which only a server sends", { type: "error", id: "a", payload: [{ message: "x" }] }]
  ]

  it.live.each(wrong)("%s: ends the socket with 4400, before a token was shown and after it", ([, message]) =>
    withGateway(async ({ url }) => {
      const [early, late] = [new RawLine(url).say(message), await new RawLine(url).acknowledged(agent.id)]
      expect((await early.ended()).code).toBe(4400)
      expect((await late.say(message).ended()).code).toBe(4400)
    })
  )

  it.live("is the last one: what comes behind it in the same packet is not read", () =>
    withGateway(async ({ url }) => {
      const heard: Array<string> = []
      const line = await new RawLine(url).acknowledged(agent.id)
      expect((await line.say("{", subscribe("a", list, { after: 0 }), { type: "ping" }).ended(heard)).code).toBe(4400)
      expect(heard).toEqual([])
    })
  )
})

describe("a message out of turn", () => {
  const outOfTurn: ReadonlyArray<readonly [string, number, ReadonlyArray<unknown>]> = [
    ["a subscription before init", 4401, [subscribe("a", list)]],
    ["a query before init", 4401, [subscribe("a", "{ me }")]],
    ["a subscription while the token is verified", 4401, [init("held-agent-1"), subscribe("a", list)]],
    ["a second init while the token is verified", 4429, [init("held-agent-1"), init()]],
    ["a second init after the acknowledgement", 4429, [init(), init()]],
    ["a second init of somebody else", 4429, [init(), init("customer-1")]],
    ["an init without a token", 4403, [{ type: "connection_init" }]],
    ["an init with a token of nobody", 4403, [init("nobody")]],
    ["an init with a header in the token", 4403, [init("agent-1\r\nX: y")]],
    ["an id that is taken", 4409, [init(), subscribe("a", list), subscribe("a", list)]],
    ["a query's id that a subscription has", 4409, [init(), subscribe("a", list), subscribe("a", "{ me }")]],
    ["an id that a query under way has", 4409, [init(), subscribe("a", "{ held }"), subscribe("a", list)]],
    [
      "a huge id that is taken",
      4409,
      [init(), subscribe("x".repeat(30_000), list), subscribe("x".repeat(30_000), list)]
    ],
    ["an inherited id that is taken", 4409, [init(), subscribe("__proto__", list), subscribe("__proto__", list)]]
  ]

  it.live.each(outOfTurn)("%s: ends the socket with %i, and gives nothing", ([, code, messages]) =>
    withGateway(async ({ held, url }) => {
      const heard: Array<string> = []
      expect((await new RawLine(url).say(...messages).ended(heard)).code).toBe(code)
      expect(heard.filter((text) => !text.includes("connection_ack"))).toEqual([])
      for (const goOn of held) goOn()
    })
  )

  it.live("silence ends the socket with 4408, also when pings break it", () =>
    withGateway(async ({ url }) => {
      const heard: Array<string> = []
      const line = new RawLine(url).say({ type: "ping" }, { type: "pong" })
      expect((await line.ended(heard)).code).toBe(4408)
      expect(heard.map((text) => JSON.parse(text))).toEqual([{ type: "pong" }])
    })
  )

  it.live("a token that was slow to verify gives nothing to a socket that has gone", () =>
    withGateway(async ({ gateway, held, url }) => {
      const line = new RawLine(url).say(init("held-agent-1"))
      await vi.waitUntil(() => held.length === 1, patient)
      line.cut()
      await vi.waitUntil(async () => (await Effect.runPromise(gateway.status)).connections === 0, patient)
      held[0]?.()
      const next = await new RawLine(url).acknowledged(agent.id)
      expect((await Effect.runPromise(gateway.status)).connections).toBe(1)
      next.cut()
    })
  )
})

describe("before a token was shown", () => {
  it.live("nothing is heard, whatever happens to the desk; a ping is answered", () =>
    withGateway(async ({ url }, broker) => {
      const stranger = new RawLine(url)
      const known = await new RawLine(url).acknowledged(agent.id)
      known.say(subscribe("a", list, { after: 3 }))
      broker.publish(reply(4))
      expect(await known.message()).toMatchObject({ id: "a", type: "next" })
      broker.lose()
      expect(await known.message()).toMatchObject({ type: "ping", payload: { feed: { state: "stale" } } })
      broker.isAway = false
      expect(await known.message()).toMatchObject({ type: "ping", payload: { feed: { state: "live" } } })
      // Of all that the stranger has heard nothing; the answer to its ping is the first word.
      expect(await stranger.say({ type: "ping", payload: { n: 1 } }).message()).toEqual({
        type: "pong",
        payload: { n: 1 }
      })
      expect(await stranger.answer).not.toMatch(/position|feed/)
      known.cut()
      stranger.cut()
    })
  )

  it.live("another subprotocol, or none, is told 4406 and nothing else", () =>
    withGateway(async ({ url }) => {
      for (const headers of [[], ["Sec-WebSocket-Protocol: graphql-ws"], ["Sec-WebSocket-Protocol: x, y"]]) {
        const heard: Array<string> = []
        expect((await new RawLine(url, headers).ended(heard)).code).toBe(4406)
        expect(heard).toEqual([])
      }
    })
  )
})

describe("a message that is unusual and right", () => {
  it.live("comes in pieces, with a ping of the socket between them", () =>
    withGateway(async ({ url }) => {
      const text = JSON.stringify(init())
      const line = new RawLine(url).frames(
        { payload: text.slice(0, 10), isFinal: false },
        { opcode: 9, payload: "x" },
        { opcode: 0, payload: text.slice(10, 20), isFinal: false },
        { opcode: 0, payload: text.slice(20) }
      )
      expect(await line.hear()).toMatchObject({ opcode: 10, payload: Buffer.from("x") })
      expect(await line.message()).toEqual(ack)
      line.cut()
    })
  )

  it.live("comes byte by byte, with its upgrade's end in the same packet", () =>
    withGateway(async ({ url }) => {
      const line = new RawLine(url)
      line.say(init())
      expect(await line.message()).toEqual(ack)
      line.cut()
    })
  )

  it.live("pings with and without a payload are answered with theirs; pongs are not answered", () =>
    withGateway(async ({ url }) => {
      const line = await new RawLine(url).acknowledged(agent.id)
      line.say({ type: "pong" }, { type: "pong", payload: { a: 1 } }, { type: "ping" })
      expect(await line.message()).toEqual({ type: "pong" })
      expect(await line.say({ type: "ping", payload: null }).message()).toEqual({ type: "pong" })
      expect(await line.say({ type: "ping", payload: {} }).message()).toEqual({ type: "pong", payload: {} })
      const payload = { text: "“ü”", deep: [{ __proto__: 1 }] }
      expect(await line.say({ type: "ping", payload }).message()).toEqual({ type: "pong", payload })
      line.cut()
    })
  )

  it.live("completes what is unknown, or over, and nothing happens", () =>
    withGateway(async ({ url }) => {
      const line = await new RawLine(url).acknowledged(agent.id)
      line.say({ type: "complete", id: "nobody" }, { type: "complete", id: "__proto__" })
      expect(await line.say(subscribe("q", "{ me }")).message()).toMatchObject({ id: "q", type: "next" })
      expect(await line.message()).toEqual({ id: "q", type: "complete" })
      line.say({ type: "complete", id: "q" }, { type: "complete", id: "q" }, { type: "ping" })
      expect(await line.message()).toEqual({ type: "pong" })
      line.cut()
    })
  )

  const ids = ["__proto__", "constructor", "hasOwnProperty", '"', "\u2028", "ü".repeat(10_000), " "]
  it.live.each(ids.map((id) => [id.slice(0, 12), id] as const))("has the id %j, which comes back as it is", ([, id]) =>
    withGateway(async ({ url }, broker) => {
      const line = await new RawLine(url).acknowledged(agent.id)
      expect(await line.say(subscribe(id, list, { after: 2 })).message()).toMatchObject({ id, type: "next" })
      broker.publish(reply(4))
      expect(await line.message()).toMatchObject({ id, payload: { data: { ticketListChanged: { position: 4 } } } })
      expect(await line.say({ type: "complete", id }, subscribe(id, "{ me }")).message()).toMatchObject({
        id,
        type: "next"
      })
      expect(await line.message()).toEqual({ id, type: "complete" })
      line.cut()
    })
  )

  it.live("has fields that nobody knows", () =>
    withGateway(async ({ url }) => {
      const line = new RawLine(url).say({ ...init(), x: 1, id: 7 })
      expect(await line.message()).toEqual(ack)
      line.cut()
    })
  )
})

describe("too much", () => {
  it.live("10 000 subscriptions: 100 run, the next are refused one by one, and then the socket ends", () =>
    withGateway(async ({ url }) => {
      const line = await new RawLine(url).acknowledged(agent.id)
      const heard: Array<string> = []
      line.say(...Array.from({ length: 10_000 }, (_, n) => subscribe(`s${n}`, list)))
      expect(await line.ended(heard)).toEqual({ code: 4400, reason: `{"code":"TOO_MANY_MESSAGES"}` })
      const refused = heard.map((text) => JSON.parse(text))
      expect(refused.length).toBeGreaterThan(50)
      expect(refused.length).toBeLessThan(Realtime.messagesBurstMax)
      expect(refused[0]).toMatchObject({ id: `s${Realtime.operationsPerSocketMax}`, type: "error" })
      for (const { payload } of refused)
        expect(payload).toMatchObject([{ extensions: { code: "TOO_MANY_OPERATIONS" } }])
    })
  )

  it.live("queries: so many at once run, the next are refused one by one, and the socket stays", () =>
    withGateway(async ({ held, url }) => {
      const line = await new RawLine(url).acknowledged(agent.id)
      const all = Realtime.queriesPerSocketMax
      line.say(...Array.from({ length: all + 1 }, (_, n) => subscribe(`q${n}`, "{ held }")))
      expect(await line.message()).toMatchObject({
        id: `q${all}`,
        payload: { errors: [{ extensions: { code: "TOO_MANY_OPERATIONS" } }] }
      })
      expect(await line.message()).toEqual({ id: `q${all}`, type: "complete" })
      expect(held.length).toBe(all)
      held[0]?.()
      expect(await line.message()).toMatchObject({ id: "q0", payload: { data: { me: agent.id } } })
      expect(await line.message()).toEqual({ id: "q0", type: "complete" })
      expect(await line.say(subscribe("q0", "{ me }")).message()).toMatchObject({ payload: { data: { me: agent.id } } })
      line.cut()
      for (const goOn of held) goOn()
    })
  )

  it.live("after the gateway has ended a socket nothing that comes late is answered", () =>
    withGateway(async ({ url }) => {
      const line = await new RawLine(url).acknowledged(agent.id)
      expect((await line.say({ type: "nonsense" }).ending()).code).toBe(4400)
      line.say({ type: "ping" }, subscribe("a", list, { after: 0 }), init())
      line.frames({ opcode: 8, payload: new Uint8Array([0x03, 0xe8]) })
      expect(await line.hear()).toBeNull()
    })
  )
})

describe("an id that is free again", () => {
  it.live("belongs to the new subscription at once, in the same packet", () =>
    withGateway(async ({ url }, broker) => {
      const line = await new RawLine(url).acknowledged(agent.id)
      line.say(subscribe("a", list, { after: 2 }))
      expect(await line.message()).toMatchObject({ id: "a", type: "next" })
      line.say({ type: "complete", id: "a" }, subscribe("a", list, { after: 1 }))
      const positions = [await line.message(), await line.message()]
      expect(positions).toMatchObject(
        [2, 3].map((position) => ({ payload: { data: { ticketListChanged: { position } } } }))
      )
      broker.publish(reply(4))
      expect(await line.message()).toMatchObject({ payload: { data: { ticketListChanged: { position: 4 } } } })
      line.cut()
    })
  )

  it.live("of a query that was given up: its answer comes to nobody, and the next one's to the next", () =>
    withGateway(async ({ held, url }) => {
      const line = await new RawLine(url).acknowledged(agent.id)
      line.say(
        subscribe("q", "query($n: Int) { held }", { n: 1 }),
        { type: "complete", id: "q" },
        subscribe("q", "query($n: Int) { held }", { n: 2 })
      )
      await vi.waitUntil(() => held.length === 2, patient)
      held[0]?.()
      expect(await line.say({ type: "ping" }).message()).toEqual({ type: "pong" })
      held[1]?.()
      expect(await line.message()).toMatchObject({ id: "q", payload: { data: { variables: { n: 2 } } } })
      expect(await line.message()).toEqual({ id: "q", type: "complete" })
      line.cut()
    })
  )
})
