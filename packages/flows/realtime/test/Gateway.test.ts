// The gateway as clients meet it: through a real graphql-ws client, and through a raw socket that keeps no rules.
import { describe, expect, it, vi } from "@effect/vitest"
import { Realtime } from "@holdfast/resilience/Limits"
import { Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import { type Client, createClient } from "graphql-ws"
import { WebSocket } from "ws"
import { BrokerDouble } from "./BrokerDouble.ts"
import { agent, customer, envelope, fileId, otherCustomer, ticketId, uuid } from "./Events.ts"
import { connect, RawClient, startGateway, type World } from "./World.ts"

const changes = `subscription($id: ID!, $after: Position) { ticketChanged(id: $id, after: $after) { position type body } }`
const list = `subscription($after: Position) { ticketListChanged(list: all, after: $after) { position ticketId change } }`
const file = `subscription($id: ID!, $after: Position) { fileProgress(id: $id, after: $after) {
  type state stage reason detail durationMs tool { name version signatureVersion } inspector { name version signatureVersion } } }`
const ticket = `subscription($id: ID!, $after: Position) { ticketChanged(id: $id, after: $after) { type fileId fileName reason } }`
const reply = (position: number, stream = 0) => envelope({ type: "TicketReplied", position, stream })
const replies = (from: number, to: number, stream = 0) =>
  Array.from({ length: to - from + 1 }, (_, index) => reply(from + index, stream))
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)
const promise = <A>(run: () => Promise<A>) => Effect.promise(run)

/** Until the gateway has every event that was published, and says that its feed is live. */
const caughtUp = ({ gateway }: World, position: number | undefined) =>
  Effect.suspend(() => gateway.status).pipe(
    Effect.tap(() => Effect.sleep(Duration.millis(10))),
    Effect.repeat({ until: ({ feed }) => feed.state === "live" && feed.position === position })
  )

const withGateway = <A>(test: (world: World, broker: BrokerDouble) => Effect.Effect<A>, retained = 3) =>
  Effect.scoped(
    Effect.gen(function* () {
      const broker = new BrokerDouble()
      broker.publish(...replies(1, retained))
      const world = yield* startGateway(broker)
      yield* caughtUp(world, retained)
      return yield* test(world, broker)
    })
  )

const graphqlClient = (url: string, token: string, onPing?: (payload: unknown) => void): Client =>
  createClient({
    url,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    connectionParams: { authorization: `Bearer ${token}` },
    on: { ping: (_received, payload) => onPing?.(payload) }
  })

/** A busy machine takes its time over thousands of messages, and one of the deadlines tested is 3 s. */
vi.setConfig({ testTimeout: 30_000 })

describe("resuming", () => {
  it.live("gives a client that was away the whole time each event exactly once, in order, at any gateway", () =>
    withGateway((first, broker) =>
      Effect.scoped(
        Effect.gen(function* () {
          const second = yield* startGateway(broker)
          const seen: Array<unknown> = []
          let after: unknown = 0
          for (const [world, until] of [
            [first, 3],
            [second, 40],
            [first, 41],
            [second, 45]
          ] as const) {
            broker.publish(...replies(broker.log.length + 1, until))
            yield* caughtUp(world, until)
            const client = graphqlClient(world.url, agent.id)
            const events = client.iterate({ query: changes, variables: { id: ticketId(0), after } })
            while (seen.length < until) {
              const { value } = yield* promise(() => events.next())
              seen.push(value.data.ticketChanged.position)
              after = value.extensions.feed.position
            }
            yield* promise(async () => client.dispose())
          }
          expect(seen).toEqual(range(1, 45))
        })
      )
    )
  )

  it.live("goes from the past to the present without a seam", () =>
    withGateway(
      (world, broker) =>
        Effect.gen(function* () {
          const client = yield* promise(() => connect(world.url, agent))
          client.subscribe("a", changes, { id: ticketId(0), after: 0 })
          broker.publish(...replies(2001, 2600))
          expect(yield* promise(() => client.positions(2600))).toEqual(range(1, 2600))
          client.socket.terminate()
        }),
      2000
    )
  )

  it.live("accepts a position as digits too, and starts now without one", () =>
    withGateway((world, broker) =>
      Effect.gen(function* () {
        const client = yield* promise(() => connect(world.url, agent))
        client.subscribe("digits", changes, { id: ticketId(0), after: "2" })
        expect(yield* promise(() => client.positions(1))).toEqual([3])
        client.subscribe("now", changes, { id: ticketId(0) }).say({ type: "ping" })
        yield* promise(() => client.answer())
        broker.publish(reply(4))
        const both = [yield* promise(() => client.answer()), yield* promise(() => client.answer())]
        expect(both.map(({ id }) => id).sort()).toEqual(["digits", "now"])
        client.socket.terminate()
      })
    )
  )

  it.live("asks for a fresh reading when the events are gone, and says which are held", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const broker = new BrokerDouble()
        broker.publish(...replies(1, 30))
        broker.retainedFrom = 21
        const world = yield* startGateway(broker)
        yield* caughtUp(world, 30)
        const client = yield* promise(() => connect(world.url, agent))
        client.subscribe("old", changes, { id: ticketId(0), after: 10 })
        const error = yield* promise(() => client.answer())
        expect(error).toMatchObject({
          id: "old",
          type: "error",
          payload: [{ extensions: { code: "RESYNC_REQUIRED", oldestPosition: 21, position: 30 } }]
        })
        client.subscribe("old", changes, { id: ticketId(0), after: 29 })
        expect(yield* promise(() => client.positions(1))).toEqual([30])
        client.socket.terminate()
      })
    )
  )
})

describe("a lost broker", () => {
  it.live("keeps the sockets, says that the feed is stale, and goes on without a gap", () =>
    withGateway((world, broker) =>
      Effect.gen(function* () {
        const client = yield* promise(() => connect(world.url, agent))
        client.subscribe("a", changes, { id: ticketId(0), after: 3 })
        broker.publish(reply(4))
        expect(yield* promise(() => client.positions(1))).toEqual([4])
        broker.lose()
        expect(yield* promise(() => client.hear())).toMatchObject({
          type: "ping",
          payload: { feed: { state: "stale", position: 4 } }
        })
        broker.publish(...replies(5, 9))
        broker.isAway = false
        expect(yield* promise(() => client.positions(5))).toEqual(range(5, 9))
        expect(yield* promise(() => client.hear())).toMatchObject({
          type: "ping",
          payload: { feed: { state: "live", position: 9 } }
        })
        client.socket.terminate()
      })
    )
  )

  it.live("takes no silence for the present: who is ahead of a window half loaded stays, and gets what comes", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const broker = new BrokerDouble()
        broker.publish(...replies(1, 30))
        broker.stallsAt = 20
        const world = yield* startGateway(broker)
        const client = yield* promise(() => connect(world.url, agent))
        client.subscribe("far", changes, { id: ticketId(0), after: Realtime.windowEventsMax + 100 })
        client.subscribe("near", changes, { id: ticketId(0), after: 25 })
        // The broker hangs in the middle of what it had.
        yield* Effect.sleep(Duration.millis(500))
        expect((yield* world.gateway.status).feed.state).toBe("stale")
        broker.lose()
        broker.stallsAt = Number.POSITIVE_INFINITY
        broker.isAway = false
        expect(yield* promise(() => client.positions(5))).toEqual(range(26, 30))
        // Only now is it known that this cursor is of another desk.
        expect(yield* promise(() => client.answer())).toMatchObject({
          id: "far",
          payload: [{ extensions: { code: "RESYNC_REQUIRED" } }]
        })
        client.socket.terminate()
      })
    )
  )

  it.live(
    "asks everybody to read afresh when another log is in its place, and sends that from its first position",
    () =>
      withGateway((world, broker) =>
        Effect.gen(function* () {
          const client = yield* promise(() => connect(world.url, agent))
          client.subscribe("a", changes, { id: ticketId(0), after: 3 })
          yield* promise(() => client.say({ type: "ping" }).answer())
          broker.goOnWithAnotherLog(...replies(1, 2))
          expect(yield* promise(() => client.answer())).toMatchObject({
            id: "a",
            type: "error",
            payload: [{ extensions: { code: "RESYNC_REQUIRED" } }]
          })
          yield* caughtUp(world, 2)
          client.subscribe("a", changes, { id: ticketId(0), after: 0 })
          expect(yield* promise(() => client.positions(2))).toEqual([1, 2])
          client.socket.terminate()
        })
      )
  )

  it.live("ends subscriptions with a fresh reading when the gap cannot be filled", () =>
    withGateway((world, broker) =>
      Effect.gen(function* () {
        const client = yield* promise(() => connect(world.url, agent))
        client.subscribe("a", changes, { id: ticketId(0), after: 3 })
        yield* promise(() => client.say({ type: "ping" }).answer())
        broker.lose()
        broker.publish(...replies(4, 9))
        broker.retainedFrom = 8
        broker.isAway = false
        expect(yield* promise(() => client.answer())).toMatchObject({
          type: "error",
          payload: [{ extensions: { code: "RESYNC_REQUIRED" } }]
        })
        yield* caughtUp(world, 9)
        client.subscribe("a", changes, { id: ticketId(0), after: 8 })
        expect(yield* promise(() => client.positions(1))).toEqual([9])
        client.socket.terminate()
      })
    )
  )

  it.live("does not stop a gateway from starting, and a cursor waits for the feed", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const broker = new BrokerDouble()
        broker.publish(...replies(1, 5))
        broker.isAway = true
        const world = yield* startGateway(broker)
        const client = yield* promise(() => connect(world.url, agent))
        client.subscribe("a", changes, { id: ticketId(0), after: 2 })
        broker.isAway = false
        expect(yield* promise(() => client.positions(3))).toEqual([3, 4, 5])
        client.socket.terminate()
      })
    )
  )
})

describe("permissions", () => {
  it.live("never gives a customer a note, nor anything of somebody else's ticket", () =>
    withGateway((world, broker) =>
      Effect.gen(function* () {
        const [staff, own, other] = yield* promise(() =>
          Promise.all([connect(world.url, agent), connect(world.url, customer), connect(world.url, otherCustomer)])
        )
        for (const client of [staff, own, other]) {
          client.subscribe("ticket", changes, { id: ticketId(0), after: 3 })
          client.subscribe("list", list, { after: 3 })
          yield* promise(() => client.say({ type: "ping" }).answer())
        }
        const theirs = envelope({
          type: "TicketReplied",
          position: 6,
          stream: 9,
          visibility: {
            requesterId: otherCustomer.id,
            before: null,
            after: { status: "open", assigneeId: null, requesterId: otherCustomer.id }
          }
        })
        broker.publish(reply(4), envelope({ type: "NoteAdded", position: 5 }), theirs, reply(7))
        expect(yield* promise(() => staff.positions(7))).toEqual([4, 4, 5, 5, 6, 7, 7])
        expect(yield* promise(() => own.positions(4))).toEqual([4, 4, 7, 7])
        expect(yield* promise(() => other.positions(1))).toEqual([6])
        for (const client of [staff, own, other]) client.socket.terminate()
      })
    )
  )

  it.live("tells of a file its owner what became of it, staff also by which tools, and nobody else anything", () =>
    withGateway((world, broker) =>
      Effect.gen(function* () {
        const [staff, own, other] = yield* promise(() =>
          Promise.all([connect(world.url, agent), connect(world.url, customer), connect(world.url, otherCustomer)])
        )
        const types = [
          "FileScanned",
          "FileRescanRequested",
          "FileRescanned",
          "FileRescanFailed",
          "FileWithdrawn"
        ] as const
        broker.publish(...types.map((type, index) => envelope({ type, position: 4 + index })))
        broker.publish(envelope({ type: "AttachmentWithdrawn", position: 9 }))
        // Some resume, others were there before: the same for both.
        for (const client of [staff, own, other]) {
          client.subscribe("file", file, { id: fileId(0), after: 3 })
          client.subscribe("ticket", ticket, { id: ticketId(0), after: 8 })
        }
        const tool = { name: "tool", version: "1", signatureVersion: null }
        const line = (type: string, state: string, stage: string) => ({ type, state, stage })
        const told = {
          scanned: line("FileScanned", "scanned", "scan"),
          withdrawn: { ...line("FileWithdrawn", "withdrawn", "rescan"), reason: "malware", detail: "Eicar" }
        }
        const nothing = { reason: null, detail: null, inspector: null, durationMs: 1 }
        const attachment = { type: "AttachmentWithdrawn", fileId: fileId(0), fileName: "a.png", reason: "malware" }
        expect(yield* promise(() => staff.changes(6))).toEqual({
          file: [
            { ...nothing, ...told.scanned, tool },
            { ...nothing, ...line("FileRescanRequested", "released", "rescan"), tool: null, durationMs: null },
            { ...nothing, ...line("FileRescanned", "released", "rescan"), tool, inspector: tool },
            { ...nothing, ...line("FileRescanFailed", "released", "rescan"), tool, detail: "the content is damaged" },
            { ...nothing, ...told.withdrawn, tool }
          ],
          ticket: [attachment]
        })
        expect(yield* promise(() => own.changes(3))).toEqual({
          file: [
            { ...nothing, ...told.scanned, tool: null },
            { ...nothing, ...told.withdrawn, tool: null }
          ],
          ticket: [attachment]
        })
        broker.publish(
          envelope({ type: "FileReceived", position: 10, stream: 1, visibility: { requesterId: otherCustomer.id } })
        )
        other.subscribe("theirs", file, { id: fileId(1), after: 3 })
        expect(yield* promise(() => other.answer())).toMatchObject({ id: "theirs", type: "next" })
        for (const client of [staff, own, other]) client.socket.terminate()
      })
    )
  )

  it.effect("closes a socket when its token ends", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const world = yield* startGateway(new BrokerDouble())
        const lasting = yield* promise(() => connect(world.url, agent))
        const client = yield* promise(() => connect(world.url, customer, `${customer.id}@30`))
        yield* TestClock.adjust("29 seconds")
        expect(client.socket.readyState).toBe(WebSocket.OPEN)
        // Both answer pings, as every client does.
        yield* promise(() => client.say({ type: "ping" }).answer())
        yield* promise(() => lasting.say({ type: "ping" }).answer())
        yield* TestClock.adjust("2 seconds")
        expect(yield* promise(() => client.closed)).toEqual({ code: 4403, reason: `{"code":"TOKEN_EXPIRED"}` })
        expect(lasting.socket.readyState).toBe(WebSocket.OPEN)
        lasting.socket.terminate()
      })
    )
  )

  it.effect("pings, and drops a client that has gone silent", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const world = yield* startGateway(new BrokerDouble())
        const client = yield* promise(() => connect(world.url, agent))
        yield* TestClock.adjust("16 seconds")
        expect(yield* promise(() => client.hear())).toMatchObject({ type: "ping" })
        yield* TestClock.adjust(Realtime.silenceMax)
        expect((yield* promise(() => client.closed)).code).toBe(1006)
      })
    )
  )
})

describe("the protocol", () => {
  const breaches: ReadonlyArray<readonly [string, number, ReadonlyArray<unknown>]> = [
    ["nothing that is JSON", 4400, ["hello"]],
    ["JSON that is no message", 4400, [[1, 2]]],
    ["an unknown message", 4400, [{ type: "no_such" }]],
    ["a message that only a server sends", 4400, [{ type: "next", id: "a", payload: { data: {} } }]],
    ["a subscription before authentication", 4401, [{ type: "subscribe", id: "a", payload: { query: "{ me }" } }]],
    ["no authorization", 4403, [{ type: "connection_init" }]],
    ["a token of nobody", 4403, [{ type: "connection_init", payload: { authorization: "Bearer nobody" } }]],
    [
      "a token that cannot be verified now",
      1013,
      [{ type: "connection_init", payload: { authorization: "Bearer away" } }]
    ],
    [
      "two beginnings",
      4429,
      [{ type: "connection_init", payload: { authorization: "Bearer agent-1" } }, { type: "connection_init" }]
    ],
    ["a message that is too large", 1009, [{ type: "ping", payload: { text: "x".repeat(70_000) } }]],
    ["more messages than a client has reason to send", 4400, Array.from({ length: 250 }, () => ({ type: "pong" }))],
    ["nothing at all", 4408, []]
  ]

  it.live("answers each breach with its code", () =>
    withGateway((world) =>
      Effect.gen(function* () {
        for (const [name, code, messages] of breaches) {
          const client = yield* promise(() => new RawClient(world.url).opened())
          for (const message of messages) client.say(message)
          expect([name, (yield* promise(() => client.closed)).code]).toEqual([name, code])
        }
        yield* Effect.repeat(world.gateway.status, { until: ({ connections }) => connections === 0 })
      })
    )
  )

  it.live("closes a socket that names one subscription twice", () =>
    withGateway((world) =>
      Effect.gen(function* () {
        const client = yield* promise(() => connect(world.url, agent))
        client.subscribe("a", list).subscribe("a", list)
        expect((yield* promise(() => client.closed)).code).toBe(4409)
        yield* Effect.repeat(world.gateway.status, { until: ({ connections, groups }) => connections + groups === 0 })
      })
    )
  )

  it.live("speaks only its own subprotocol", () =>
    withGateway((world) =>
      Effect.gen(function* () {
        const client = new RawClient(world.url, {}, "graphql-ws")
        expect((yield* promise(() => client.closed)).code).toBe(1006)
      })
    )
  )

  it.live("refuses other paths and other people's pages before there is a socket", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const world = yield* startGateway(new BrokerDouble(), ["https://desk.test"])
        const open = (url: string, origin?: string) =>
          promise(() =>
            new RawClient(url, origin === undefined ? {} : { origin }).opened().then(
              (client) => client.socket.terminate(),
              (error: Error) => error.message
            )
          )
        expect(yield* open(world.url, "https://evil.test")).toBe("403")
        expect(yield* open(world.url.replace("/graphql", "/other"))).toBe("404")
        expect(yield* open(world.url, "https://desk.test")).toBeUndefined()
        expect(yield* open(world.url, world.url.replace("ws:", "http:").replace("/graphql", ""))).toBeUndefined()
        expect(yield* open(world.url, `http://${new URL(world.url).hostname}:7410`)).toBeUndefined()
      })
    )
  )

  it.live("bounds one person's sockets", () =>
    withGateway((world) =>
      Effect.gen(function* () {
        const clients = yield* promise(() =>
          Promise.all(range(1, Realtime.connectionsPerPrincipalMax).map(() => connect(world.url, agent)))
        )
        const one = yield* promise(() => new RawClient(world.url).opened())
        one.say({ type: "connection_init", payload: { authorization: `Bearer ${agent.id}` } })
        expect((yield* promise(() => one.closed)).code).toBe(4471)
        const other = yield* promise(() => connect(world.url, customer))
        for (const client of [...clients, other]) client.socket.terminate()
      })
    )
  )

  it.live("answers what it cannot run with an error of that operation, and the socket stays", () =>
    withGateway((world) =>
      Effect.gen(function* () {
        const client = yield* promise(() => connect(world.url, agent))
        const many = `subscription { ticketListChanged(list: all) { ${range(1, 70)
          .map((n) => `a${n}: position`)
          .join(" ")} } }`
        const wrong: ReadonlyArray<readonly [string, Record<string, unknown>]> = [
          ["subscription {", {}],
          ["subscription { nothing }", {}],
          ["subscription { ticketListChanged(list: nobodys) { position } }", {}],
          [
            "subscription { a: ticketListChanged(list: all) { position } b: ticketListChanged(list: all) { position } }",
            {}
          ],
          [changes, { id: "not-an-id" }],
          [changes, { id: ticketId(0), after: -1 }],
          [changes, { id: ticketId(0), after: "x" }],
          [changes, {}],
          [many, {}],
          ["mutation { close }", {}],
          ["{ ".repeat(3000), {}]
        ]
        for (const [index, [query, variables]] of wrong.entries()) {
          client.subscribe(String(index), query, variables)
          expect([query, yield* promise(() => client.answer())]).toMatchObject([
            query,
            { id: String(index), type: "error" }
          ])
        }
        client.subscribe("good", list, { after: 2 })
        expect(yield* promise(() => client.positions(1))).toEqual([3])
        client.socket.terminate()
      })
    )
  )

  it.live("bounds the subscriptions of one socket", () =>
    withGateway((world) =>
      Effect.gen(function* () {
        const client = yield* promise(() => connect(world.url, agent))
        for (const n of range(1, Realtime.operationsPerSocketMax)) client.subscribe(`s${n}`, list)
        client.subscribe("one more", list)
        expect(yield* promise(() => client.answer())).toMatchObject({
          id: "one more",
          type: "error",
          payload: [{ extensions: { code: "TOO_MANY_OPERATIONS" } }]
        })
        expect((yield* world.gateway.status).groups).toBe(1)
        client.socket.terminate()
      })
    )
  )

  it.live("answers queries over the same socket", () =>
    withGateway((world) =>
      Effect.gen(function* () {
        const client = yield* promise(() => connect(world.url, customer))
        client.subscribe("q", "query($x: Int) { me }", { x: 1 })
        expect(yield* promise(() => client.answer())).toEqual({
          id: "q",
          type: "next",
          payload: { data: { me: customer.id, variables: { x: 1 } }, extensions: { freshness: "live" } }
        })
        expect(yield* promise(() => client.answer())).toEqual({ id: "q", type: "complete" })
        client.subscribe("q", "{ broken }")
        expect(yield* promise(() => client.answer())).toMatchObject({
          payload: { errors: [{ message: "no such field", extensions: { code: "BAD_USER_INPUT" } }] }
        })
        client.socket.terminate()
      })
    )
  )

  it.live("ends a subscription that the client completes, and its id is free again", () =>
    withGateway((world, broker) =>
      Effect.gen(function* () {
        const client = yield* promise(() => connect(world.url, agent))
        client.subscribe("a", changes, { id: ticketId(0), after: 2 })
        expect(yield* promise(() => client.positions(1))).toEqual([3])
        client.say({ id: "a", type: "complete" }).subscribe("b", list, { after: 3 })
        yield* promise(() => client.say({ type: "ping" }).answer())
        broker.publish(reply(4))
        expect(yield* promise(() => client.answer())).toMatchObject({ id: "b" })
        expect((yield* world.gateway.status).groups).toBe(1)
        client.subscribe("a", changes, { id: ticketId(0), after: 3 })
        expect(yield* promise(() => client.answer())).toMatchObject({ id: "a" })
        client.socket.terminate()
      })
    )
  )

  it.live("shares one group among subscribers who differ only in where they resume", () =>
    withGateway((world) =>
      Effect.gen(function* () {
        const client = yield* promise(() => connect(world.url, agent))
        client.subscribe("a", changes, { id: ticketId(0), after: 1 })
        client.subscribe("b", changes, { id: ticketId(0), after: 2 })
        client.subscribe("c", changes, { id: ticketId(0) })
        client.subscribe("d", `subscription { ticketListChanged(list: all, after: 2) { position } }`)
        client.subscribe("e", `subscription { ticketListChanged(list: all, after: 1) { position } }`)
        client.subscribe("f", changes, { id: uuid("a", 77) })
        yield* promise(() => client.positions(6))
        yield* promise(() => client.say({ type: "ping" }).answer())
        expect((yield* world.gateway.status).groups).toBe(3)
        client.socket.terminate()
      })
    )
  )
})

describe("a slow client", () => {
  it.live("is closed with a code that says resume, loses nothing, and delays nobody", () =>
    withGateway((world, broker) =>
      Effect.gen(function* () {
        const [slow, fast] = yield* promise(() => Promise.all([connect(world.url, agent), connect(world.url, agent)]))
        for (const client of [slow, fast]) {
          client.subscribe("a", changes, { id: ticketId(0), after: 3 })
          yield* promise(() => client.say({ type: "ping" }).answer())
        }
        slow.socket.pause()
        for (const position of range(4, 300)) {
          broker.publish(envelope({ type: "TicketReplied", position, body: "x".repeat(60_000) }))
          expect(yield* promise(() => fast.positions(1))).toEqual([position])
        }
        slow.socket.resume()
        expect(yield* promise(() => slow.closed)).toEqual({ code: 4470, reason: `{"code":"SLOW_CLIENT_RESUME"}` })
        const seen = yield* promise(() => untilClosed(slow))
        const again = yield* promise(() => connect(world.url, agent))
        again.subscribe("a", changes, { id: ticketId(0), after: seen.at(-1) ?? 3 })
        const rest = yield* promise(() => again.positions(297 - seen.length))
        expect([...seen, ...rest]).toEqual(range(4, 300))
        for (const client of [again, fast]) client.socket.terminate()
      })
    )
  )

  const untilClosed = async (client: RawClient): Promise<ReadonlyArray<unknown>> => {
    const seen: Array<unknown> = []
    for (;;) {
      const next = await Promise.race([
        client.positions(1),
        new Promise<null>((resolve) => setImmediate(() => resolve(null)))
      ])
      if (next === null) return seen
      seen.push(...next)
    }
  }
})

describe("admission", () => {
  it.live("refuses the socket beyond the bound at once and says when to come again; one that leaves makes room", () =>
    Effect.gen(function* () {
      const world = yield* startGateway(new BrokerDouble(), [], { connectionsMax: 2 })
      const [first] = yield* promise(() => Promise.all([1, 2].map(() => connect(world.url, agent))))
      const refused = new RawClient(world.url)
      const answer = yield* Effect.callback<{ readonly status?: number; readonly retryAfter?: string }>((resume) => {
        refused.socket.once("unexpected-response", (_request, { headers, statusCode }) =>
          resume(Effect.succeed({ status: statusCode ?? 0, retryAfter: headers["retry-after"] ?? "" }))
        )
      })
      expect(answer).toEqual({ status: 503, retryAfter: "1" })
      first?.socket.close()
      yield* Effect.repeat(world.gateway.status, { until: ({ connections }) => connections === 1 })
      yield* promise(() => connect(world.url, agent))
    }).pipe(Effect.scoped)
  )
})

describe("a stop", () => {
  it.live("sends everybody elsewhere with advice, and takes nobody in", () =>
    withGateway((world) =>
      Effect.gen(function* () {
        const clients = yield* promise(() => Promise.all(range(1, 20).map(() => connect(world.url, agent))))
        yield* world.stop
        for (const client of clients) {
          const { code, reason } = yield* promise(() => client.closed)
          expect([code, JSON.parse(reason)]).toEqual([
            1001,
            { code: "RESUME_ELSEWHERE", retryAfterMs: expect.any(Number) }
          ])
        }
        const late = yield* promise(() => new RawClient(world.url).opened().catch((error: Error) => error.message))
        expect(late).toBe("503")
      })
    )
  )
})
