// GraphQL over Server-Sent Events in its distinct connections mode, each MUST by its name; the same groups, limits and ends as a socket has;
// through bytes as a browser reads them, and through the client of graphql-sse.
import { describe, expect, it, vi } from "@effect/vitest"
import { Realtime } from "@holdfast/resilience/Limits"
import { Duration, Effect } from "effect"
import { createClient } from "graphql-sse"
import { BrokerDouble } from "./BrokerDouble.ts"
import { type Asked, ask, type StreamClient } from "./EventStreams.ts"
import { agent, customer, envelope, otherCustomer, ticketId } from "./Events.ts"
import { connect, startGateway, type World } from "./World.ts"

vi.setConfig({ testTimeout: 30_000 })

const query = "subscription($id: ID!, $after: Position) { ticketChanged(id: $id, after: $after) { position type } }"
const list = "subscription($after: Position) { ticketListChanged(list: all, after: $after) { position } }"
const reply = (position: number) => envelope({ type: "TicketReplied", position })
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)
const patient = { timeout: 180_000 }

interface Started {
  readonly world: World
  readonly broker: BrokerDouble
  /** A second gateway on the same broker. */
  readonly another: () => Promise<World>
  readonly open: (
    asked?: Asked & { readonly after?: unknown; readonly told?: boolean },
    at?: World
  ) => Promise<StreamClient>
  readonly status: () => Promise<{ readonly connections: number; readonly groups: number }>
}

const withGateway = (
  test: (started: Started) => Promise<void>,
  limits: { readonly connectionsMax?: number } = {},
  allowedOrigins: ReadonlyArray<string> = []
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const broker = new BrokerDouble()
      broker.publish(reply(1), reply(2), reply(3))
      const start = startGateway(broker, allowedOrigins, limits)
      const world = yield* start
      const other = yield* start
      for (const { gateway } of [world, other]) {
        yield* Effect.repeat(gateway.status, { until: ({ feed }) => feed.position === 3 && feed.state === "live" })
      }
      const status = () => Effect.runPromise(world.gateway.status)
      const open: Started["open"] = ({ after, told, ...asked } = {}, at = world) =>
        ask(at.streamUrl, {
          token: agent.id,
          body: {
            query,
            variables: { id: ticketId(0), ...(after === undefined ? {} : { after }) },
            ...(told === true ? { extensions: { feed: true } } : {})
          },
          ...asked
        })
      yield* Effect.promise(() => test({ world, broker, another: async () => other, open, status }))
    })
  )

const gone = (status: Started["status"]) =>
  vi.waitUntil(async () => {
    const { connections, groups } = await status()
    return connections + groups === 0
  }, patient)

describe("the protocol's text, distinct connections mode", () => {
  it.live("MUST: the Content-Type is always text/event-stream", () =>
    withGateway(async ({ open }) => {
      for (const asked of [
        {},
        { body: { query: "{" } },
        { body: { query: "{ me }" } },
        { headers: { accept: "*/*" } }
      ]) {
        const stream = await open(asked)
        expect([stream.status, stream.header("content-type")]).toEqual([200, "text/event-stream; charset=utf-8"])
        expect(stream.header("cache-control")).toContain("no-store")
        stream.cut()
      }
    })
  )

  const invalid: ReadonlyArray<readonly [string, unknown]> = [
    ["a document that cannot be parsed", { query: "subscription {" }],
    ["a field that does not exist", { query: "subscription { nothing }" }],
    ["variables that do not fit", { query, variables: {} }],
    ["an id that is none", { query, variables: { id: "x" } }],
    ["a cursor that is none", { query, variables: { id: ticketId(0), after: -1 } }],
    ["two operations and no name", { query: `${list.replace("(", " A(")} ${list.replace("(", " B(")}` }],
    ["a name that is not there", { query: list, operationName: "Other" }],
    ["more tokens than a document may have", { query: "{ ".repeat(3000) }]
  ]
  it.live.each(invalid)("MUST: errors of validation come as a next event on an accepted stream: %s", ([, body]) =>
    withGateway(async ({ open, status }) => {
      const stream = await open({ body })
      expect(stream.status).toBe(200)
      expect(await stream.event()).toMatchObject({ type: "next", data: { errors: [{ message: expect.any(String) }] } })
      expect(await stream.event()).toEqual({ type: "complete", data: null, id: null })
      expect(await stream.event()).toBeNull()
      await gone(status)
    })
  )

  it.live("the client ends an operation by closing its stream, and nothing of it is left", () =>
    withGateway(async ({ open, status }) => {
      const stream = await open({ after: 2 })
      expect(await stream.positions(1)).toEqual([3])
      expect(await status()).toMatchObject({ connections: 1, groups: 1 })
      stream.cut()
      await gone(status)
    })
  )

  it.live("a next event is an execution result", () =>
    withGateway(async ({ open }) => {
      const stream = await open({ after: 2 })
      expect(await stream.event()).toEqual({
        type: "next",
        id: "3",
        data: { data: { ticketChanged: { position: 3, type: "TicketReplied" } }, extensions: { feed: { position: 3 } } }
      })
      stream.cut()
    })
  )

  it.live(
    "after complete follows nothing, and it has an empty data field, without which EventSource would not tell of it",
    () =>
      withGateway(async ({ open }) => {
        const stream = await open({ body: { query: "{ me }" } })
        const blocks = await stream.rest()
        expect(blocks.at(-1)).toMatchObject({ event: "complete", data: "" })
      })
  )

  it.live("GET takes the same parameters from the address", () =>
    withGateway(async ({ open, world }) => {
      const parameters = new URLSearchParams({ query, variables: JSON.stringify({ id: ticketId(0), after: "1" }) })
      const asked = { token: agent.id, headers: { accept: "text/html;q=0.1, text/event-stream" } }
      const stream = await ask(`${world.streamUrl}?${parameters}`, asked)
      expect(await stream.positions(2)).toEqual([2, 3])
      stream.cut()
      const named = `${list.replace("(", " A(")} ${query.replace("(", " B(")}`
      const second = await open({ body: { query: named, operationName: "A", variables: { after: 2 } } })
      expect(await second.positions(1)).toEqual([3])
      second.cut()
    })
  )

  it.live("single connection mode is refused: there are no reservations, and none can be used", () =>
    withGateway(async ({ open, status, world }) => {
      for (const method of ["PUT", "DELETE", "PATCH"]) {
        const stream = await open({ method })
        expect([stream.status, stream.header("allow")]).toEqual([405, "GET, POST"])
      }
      expect((await open({ headers: { "x-graphql-event-stream-token": "t" } })).status).toBe(404)
      expect((await ask(`${world.streamUrl}?token=t`, { token: agent.id })).status).toBe(404)
      await gone(status)
    })
  )
})

describe("a request that is wrong", () => {
  const wrong: ReadonlyArray<readonly [string, number, string, Asked]> = [
    ["without a token", 401, "UNAUTHENTICATED", { token: null }],
    ["with a token of nobody", 401, "UNAUTHENTICATED", { token: "nobody" }],
    ["with a token that cannot be verified now", 503, "UNAVAILABLE", { token: "away" }],
    ["that wants JSON", 406, "NOT_ACCEPTABLE", { headers: { accept: "application/json" } }],
    [
      "that wants anything but a stream",
      406,
      "NOT_ACCEPTABLE",
      { headers: { accept: "text/event-stream;q=0, text/html" } }
    ],
    ["of another type", 415, "UNSUPPORTED_MEDIA_TYPE", { headers: { "content-type": "text/plain" } }],
    ["that is no JSON", 400, "BAD_REQUEST", { body: "{" }],
    ["without a query", 400, "BAD_REQUEST", { body: { variables: {} } }],
    ["with a list of variables", 400, "BAD_REQUEST", { body: { query, variables: [] } }],
    ["that is too large", 413, "TOO_LARGE", { body: { query, variables: { x: "x".repeat(70_000) } } }],
    ["from another site's page", 403, "FORBIDDEN", { headers: { origin: "https://evil.test" } }]
  ]
  it.live.each(wrong)("%s is refused with %i %s in JSON, and nothing is left", ([, expected, code, asked]) =>
    withGateway(async ({ open, status }) => {
      const stream = await open(asked)
      expect([stream.status, stream.header("content-type")]).toEqual([expected, "application/json; charset=utf-8"])
      expect(await stream.json()).toMatchObject({ errors: [{ message: expect.any(String), extensions: { code } }] })
      await gone(status)
    })
  )

  it.live("for a query or a mutation is told where those go", () =>
    withGateway(async ({ open }) => {
      for (const text of ["{ me }", "mutation { close }"]) {
        const stream = await open({ body: { query: text } })
        const event = await stream.event()
        expect(JSON.stringify(event)).toMatch(/queries by POST to \/graphql .* command API/)
        expect(event).toMatchObject({ data: { errors: [{ extensions: { code: "BAD_USER_INPUT" } }] } })
      }
    })
  )

  it.live("nothing is read and nothing is said before the token is verified", () =>
    withGateway(async ({ broker, status, world }) => {
      let isAnswered = false
      const asked = ask(world.streamUrl, {
        token: "held-nobody",
        body: { query, variables: { id: ticketId(0), after: 0 } }
      }).then((stream) => {
        isAnswered = true
        return stream
      })
      await vi.waitUntil(() => world.held.length === 1, patient)
      broker.publish(reply(4))
      broker.lose()
      broker.isAway = false
      await vi.waitUntil(() => broker.reads > 2, patient)
      expect([isAnswered, (await status()).groups]).toEqual([false, 0])
      world.held[0]?.()
      expect((await asked).status).toBe(401)
      await gone(status)
    })
  )

  it.live("pages of allowed origins and of this host may ask, and only they may read", () =>
    withGateway(
      async ({ open, world }) => {
        for (const origin of ["https://desk.test", `http://${new URL(world.url).hostname}:7410`]) {
          const preflight = await ask(world.streamUrl, { method: "OPTIONS", headers: { origin } })
          expect([preflight.status, preflight.header("access-control-allow-origin")]).toEqual([204, origin])
          expect(preflight.header("access-control-allow-headers")).toMatch(/Authorization.*Last-Event-ID/)
          const stream = await open({ after: 2, headers: { origin } })
          expect([stream.status, stream.header("access-control-allow-origin")]).toEqual([200, origin])
          stream.cut()
        }
        const evil = await ask(world.streamUrl, { method: "OPTIONS", headers: { origin: "https://evil.test" } })
        expect([evil.status, evil.header("access-control-allow-origin")]).toEqual([403, ""])
      },
      {},
      ["https://desk.test"]
    )
  )
})

describe("resuming", () => {
  it.live("each event comes once and in order over cuts, at any gateway, by Last-Event-ID as a browser sends it", () =>
    withGateway(async ({ another, broker, open, world }) => {
      const seen: Array<unknown> = []
      let lastEventId = ""
      const other = await another()
      for (const [at, until] of [
        [world, 5],
        [other, 20],
        [world, 21],
        [other, 40]
      ] as const) {
        broker.publish(...range(broker.log.length + 1, until).map(reply))
        const headers = lastEventId === "" ? {} : { "last-event-id": lastEventId }
        // The address is the same each time: what the browser adds is newer.
        const stream = await open({ after: 0, headers }, at)
        seen.push(...(await stream.positions(until - seen.length)))
        lastEventId = stream.lastEventId
        stream.cut()
      }
      expect(seen).toEqual(range(1, 40))
    })
  )

  it.live("without a cursor it begins now, and says where that is", () =>
    withGateway(async ({ broker, open }) => {
      const stream = await open()
      expect(await stream.block()).toMatchObject({ retry: expect.stringMatching(/^\d+$/), event: null })
      expect(await stream.block()).toEqual({
        ...{ event: null, data: null, retry: null, id: "3" },
        comments: [`{"feed":{"state":"live","position":3}}`]
      })
      broker.publish(reply(4))
      expect(await stream.positions(1)).toEqual([4])
      stream.cut()
    })
  )

  it.live("a socket and a stream share a group and the bytes of its events, whichever asks first", () =>
    withGateway(async ({ broker, open, status, world }) => {
      const socket = await connect(world.url, agent)
      socket.subscribe("a", query, { id: ticketId(0), after: 3 })
      const stream = await open({ after: 1 })
      expect(await stream.positions(2)).toEqual([2, 3])
      await socket.say({ type: "ping" }).answer()
      expect(await status()).toMatchObject({ connections: 2, groups: 1 })
      broker.publish(reply(4))
      const [heard, told] = [await socket.answer(), await stream.event()]
      expect(heard.payload).toEqual(told?.data)
      stream.cut()
      socket.socket.terminate()
    })
  )

  it.live("events that are gone end it with an error that says which are held", () =>
    withGateway(async ({ broker, open }) => {
      const stream = await open({ after: 3 })
      await stream.block()
      broker.lose()
      broker.publish(...range(4, 9).map(reply))
      broker.retainedFrom = 8
      broker.isAway = false
      expect(await stream.event()).toMatchObject({
        type: "next",
        data: { errors: [{ extensions: { code: "RESYNC_REQUIRED" } }] }
      })
      expect(await stream.event()).toMatchObject({ type: "complete" })
      expect(await stream.event()).toBeNull()
    })
  )

  it.live("a cursor that is none, as Last-Event-ID, is passed over", () =>
    withGateway(async ({ open }) => {
      const stream = await open({ after: 2, headers: { "last-event-id": "x" } })
      expect(await stream.positions(1)).toEqual([3])
      stream.cut()
    })
  )
})

describe("how the feed is", () => {
  it.live("is told by comments, which are no events, or by messages to who asks for them", () =>
    withGateway(async ({ broker, open }) => {
      const [quiet, told] = [await open({ after: 3 }), await open({ after: 3, told: true })]
      for (const stream of [quiet, told]) await stream.block()
      expect((await quiet.block())?.comments).toEqual([`{"feed":{"state":"live","position":3}}`])
      expect(await told.event()).toEqual({
        ...{ type: "next", id: "3" },
        data: { extensions: { feed: { state: "live", position: 3 } } }
      })
      broker.lose()
      expect((await quiet.block())?.comments).toEqual([`{"feed":{"state":"stale","position":3}}`])
      expect(await told.event()).toMatchObject({ data: { extensions: { feed: { state: "stale" } } } })
      broker.publish(reply(4))
      broker.isAway = false
      for (const stream of [quiet, told]) expect(await stream.positions(1)).toEqual([4])
      expect((await quiet.block())?.comments).toEqual([`{"feed":{"state":"live","position":4}}`])
      for (const stream of [quiet, told]) stream.cut()
    })
  )
})

describe("permissions", () => {
  it.live("are the same: a customer hears no note, and a stranger nothing", () =>
    withGateway(async ({ broker, open }) => {
      const [staff, own, other] = await Promise.all(
        [agent, customer, otherCustomer].map(({ id }) => open({ token: id, after: 3 }))
      )
      broker.publish(envelope({ type: "NoteAdded", position: 4 }), reply(5))
      expect(await staff?.positions(2)).toEqual([4, 5])
      expect(await own?.positions(1)).toEqual([5])
      broker.publish(
        envelope({
          type: "TicketReplied",
          position: 6,
          visibility: {
            requesterId: otherCustomer.id,
            after: { status: "open", assigneeId: null, requesterId: otherCustomer.id }
          }
        })
      )
      expect(await other?.positions(1)).toEqual([6])
      for (const stream of [staff, own, other]) stream?.cut()
    })
  )
})

describe("limits", () => {
  it.live("of connections count sockets and streams together", () =>
    withGateway(
      async ({ open, status, world }) => {
        const [socket, stream] = [await connect(world.url, agent), await open({ after: 2 })]
        const refused = await open()
        expect([refused.status, refused.header("retry-after")]).toEqual([503, "1"])
        stream.cut()
        await vi.waitUntil(async () => (await status()).connections === 1, patient)
        const next = await open({ after: 2 })
        expect(await next.positions(1)).toEqual([3])
        next.cut()
        socket.socket.terminate()
      },
      { connectionsMax: 2 }
    )
  )

  it.live("of one person's connections count both too", () =>
    withGateway(async ({ open, world }) => {
      const half = Realtime.connectionsPerPrincipalMax / 2
      const streams = await Promise.all(range(1, half).map(() => open()))
      const sockets = await Promise.all(range(1, half).map(() => connect(world.url, agent)))
      const refused = await open()
      expect([refused.status, await refused.json()]).toMatchObject([
        429,
        { errors: [{ extensions: { code: "TOO_MANY_CONNECTIONS" } }] }
      ])
      const other = await open({ token: customer.id, after: 2 })
      expect(await other.positions(1)).toEqual([3])
      for (const stream of [...streams, other]) stream.cut()
      for (const { socket } of sockets) socket.terminate()
    })
  )

  it.live("of unsent bytes end a slow client with advice; it resumes and loses nothing, and nobody waits for it", () =>
    withGateway(async ({ broker, open }) => {
      const body = { query: query.replace("type", "body"), variables: { id: ticketId(0), after: 3 } }
      const [slow, fast] = [await open({ body }), await open({ body })]
      for (const stream of [slow, fast]) await stream.block()
      slow.response.pause()
      for (const position of range(4, 300)) {
        broker.publish(envelope({ type: "TicketReplied", position, body: "x".repeat(60_000) }))
        expect(await fast.positions(1)).toEqual([position])
      }
      const heard = await slow.rest()
      const seen = heard.flatMap(({ event, id }) => (event === "next" ? [Number(id)] : []))
      expect(seen).toEqual(range(4, 3 + seen.length))
      fast.cut()
      const again = await open({ after: 0, headers: { "last-event-id": slow.lastEventId } })
      expect(heard.at(-1)?.comments.join()).toContain("SLOW_CLIENT_RESUME")
      expect([...seen, ...(await again.positions(297 - seen.length))]).toEqual(range(4, 300))
      again.cut()
    })
  )
})

describe("its end", () => {
  it.live("with its token is an error that says so, and complete", () =>
    withGateway(async ({ open }) => {
      const stream = await open({ token: `${agent.id}@${Date.now() / 1000}` })
      expect(await stream.event()).toMatchObject({
        type: "next",
        data: { errors: [{ extensions: { code: "TOKEN_EXPIRED" } }] }
      })
      expect(await stream.event()).toMatchObject({ type: "complete" })
      expect(await stream.event()).toBeNull()
    })
  )

  it.live(
    "with the gateway is advice and no complete, so that a browser comes back by itself; then nobody is taken in",
    () =>
      withGateway(async ({ open, world }) => {
        const streams = await Promise.all(range(1, 20).map((n) => open({ after: 3, told: n % 2 === 0 })))
        const asked = open({ token: "held-agent-1" })
        await vi.waitUntil(() => world.held.length === 1, patient)
        await Effect.runPromise(world.stop)
        for (const [index, stream] of streams.entries()) {
          const last = (await stream.rest()).at(-1)
          const retryAfterMs = Number(last?.retry)
          expect(retryAfterMs).toBeLessThanOrEqual(Duration.toMillis(Realtime.reconnectAdviceMax))
          const ended = { ended: { code: "RESUME_ELSEWHERE", retryAfterMs } }
          if (index % 2 === 0) expect(last).toMatchObject({ event: null, comments: [JSON.stringify(ended)] })
          else expect(JSON.parse(last?.data ?? "")).toEqual({ extensions: ended })
        }
        // Who was still being asked who they are, and who comes late.
        expect((await asked).status).toBe(503)
        const late = await open()
        expect([late.status, late.header("retry-after")]).toEqual([503, "1"])
      })
  )
})

describe("the client of graphql-sse", () => {
  const clientOf = (url: string, token: string) =>
    createClient({ url, headers: { authorization: `Bearer ${token}` }, retryAttempts: 0 })

  it.live("iterates over events, and stops", () =>
    withGateway(async ({ broker, status, world }) => {
      const client = clientOf(world.streamUrl, agent.id)
      const events = client.iterate({ query, variables: { id: ticketId(0), after: 1 } })
      const positions: Array<unknown> = []
      for await (const { data } of events) {
        positions.push(data?.ticketChanged)
        if (positions.length === 2) broker.publish(reply(4))
        if (positions.length === 3) break
      }
      expect(positions).toEqual([2, 3, 4].map((position) => ({ position, type: "TicketReplied" })))
      await gone(status)
    })
  )

  it.live("is given errors of validation as a result, then its end", () =>
    withGateway(async ({ world }) => {
      const results: Array<unknown> = []
      for await (const result of clientOf(world.streamUrl, agent.id).iterate({ query: "subscription { no }" })) {
        results.push(result)
      }
      expect(results).toMatchObject([{ errors: [{ message: expect.any(String) }] }])
    })
  )

  it.live("reads what it asked to be told, and the end of the gateway as a broken line", () =>
    withGateway(async ({ world }) => {
      const seen: Array<unknown> = []
      const over = Promise.withResolvers<unknown>()
      clientOf(world.streamUrl, agent.id).subscribe(
        { query, variables: { id: ticketId(0) }, extensions: { feed: true } },
        {
          next: (result) => {
            seen.push(result.extensions)
            if (seen.length === 1) Effect.runFork(world.stop)
          },
          error: over.resolve,
          complete: () => over.resolve("complete")
        }
      )
      expect(await over.promise).toBeInstanceOf(Error)
      expect(seen).toMatchObject([{ feed: { state: "live", position: 3 } }, { ended: { code: "RESUME_ELSEWHERE" } }])
    })
  )

  it.live("in its single connection mode is refused", () =>
    withGateway(async ({ world }) => {
      const headers = { authorization: `Bearer ${agent.id}` }
      const client = createClient({ singleConnection: true, url: world.streamUrl, headers, retryAttempts: 0 })
      await expect(client.iterate({ query: list }).next()).rejects.toThrow("405")
    })
  )
})

describe("presence by a stream", () => {
  const presence = "subscription($id: ID!) { presence(ticketId: $id) { people { id state } } }"

  it.live("is told whole, carries no position, and ends with the stream", () =>
    withGateway(async ({ open }) => {
      const body = { query: presence, variables: { id: ticketId(0) } }
      const stream = await open({ body })
      const first = await stream.event()
      expect([first?.type, first?.id]).toEqual(["next", null])
      expect(first?.data).toEqual({ data: { presence: { people: [{ id: agent.id, state: "viewing" }] } } })
      stream.cut()
    })
  )

  it.live("is not for a ticket of somebody else", () =>
    withGateway(async ({ open }) => {
      const stream = await open({ token: customer.id, body: { query: presence, variables: { id: ticketId(1) } } })
      expect((await stream.event())?.data).toMatchObject({ errors: [{ extensions: { code: "FORBIDDEN" } }] })
      expect(await stream.rest()).toMatchObject([{ event: "complete" }])
    })
  )
})
