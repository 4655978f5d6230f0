// A feed on a line that sockets do not survive: it goes by event streams, with the cursor that it had, and comes back to sockets.
import { createServer, type ServerResponse } from "node:http"
import { describe, expect, it, onTestFinished } from "@effect/vitest"
import { WebSocketServer } from "ws"
import { createClient } from "../src/Client.ts"
import type { FeedOptions } from "../src/Feeds.ts"
import { Feeds } from "../src/Limits.ts"
import { Ways } from "../src/Ways.ts"
import { eventAt } from "./Gateway.ts"
import { quickTiming } from "./LocalDesk.ts"

const ticketId = "01890a5d-ac96-774b-bcce-b302099a8057"

interface Line {
  /** What becomes of a socket: `pass`, refused by the proxy with a status, or opened, acknowledged and cut. */
  readonly socket: (count: number) => "pass" | "refuse" | "vanish" | "cut"
  /** What the gateway does with an event stream. */
  readonly stream: (stream: Stream, count: number) => void
}

interface Stream {
  readonly after: number | null
  readonly authorization: string
  readonly refuse: (status: number, headers?: Record<string, string>) => void
  readonly give: (...positions: ReadonlyArray<number>) => void
  readonly tell: (extensions: unknown) => void
  readonly fail: (code: string) => void
  readonly end: () => void
}

const start = async ({ socket, stream }: Line) => {
  const sockets: Array<string> = []
  const afters: Array<number | null> = []
  const tokens: Array<{ readonly refused: boolean }> = []
  const server = createServer((request, response) => {
    let body = ""
    request.on("data", (chunk) => {
      body += chunk
    })
    request.on("end", () => {
      const { extensions, variables } = JSON.parse(body)
      expect(extensions).toEqual({ feed: true })
      afters.push(variables.after ?? null)
      stream(streamOf(response, variables.after ?? null, request.headers.authorization ?? ""), afters.length)
    })
  })
  const webSockets = new WebSocketServer({ noServer: true, handleProtocols: () => "graphql-transport-ws" })
  server.on("upgrade", (request, raw, head) => {
    const way = socket(sockets.length + 1)
    sockets.push(way)
    raw.on("error", () => undefined)
    if (way === "vanish") return raw.destroy()
    if (way === "refuse") return raw.end("HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    webSockets.handleUpgrade(request, raw, head, (open) => {
      open.on("message", (data) => {
        const { id, type } = JSON.parse(String(data))
        if (type === "connection_init") {
          open.send(JSON.stringify({ type: "connection_ack", payload: { feed: { state: "live" } } }))
          if (way === "cut") open.terminate()
        }
        const payload = { data: { ticketChanged: eventAt(99) }, extensions: { feed: { position: 99 } } }
        if (type === "subscribe") open.send(JSON.stringify({ type: "next", id, payload }))
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  const freshness = { source: "live", asOf: "2026-01-01T00:00:00.000Z", position: 70 }
  const snapshot = () => new Response(JSON.stringify({ data: { ticket: null }, extensions: { freshness } }))
  const client = createClient({
    urls: { commands: "", queries: "http://desk.test", realtime: `ws://127.0.0.1:${port}/graphql`, files: "" },
    token: (why) => {
      tokens.push(why)
      return `token-${tokens.length}`
    },
    fetch: (input, init) =>
      String(input).endsWith("/graphql/stream") ? fetch(input, init) : Promise.resolve(snapshot()),
    timing: quickTiming()
  })
  onTestFinished(() => {
    client.close()
    for (const open of webSockets.clients) open.terminate()
    server.close()
    server.closeAllConnections()
  })
  return { client, sockets, afters, tokens }
}

const streamOf = (response: ServerResponse, after: number | null, authorization: string): Stream => {
  const write = (text: string) => {
    if (!response.headersSent) response.writeHead(200, { "content-type": "text/event-stream" })
    response.write(text)
  }
  const next = (result: unknown) => write(`event: next\ndata: ${JSON.stringify(result)}\n\n`)
  return {
    after,
    authorization,
    refuse: (status, headers = {}) => response.writeHead(status, headers).end(),
    give: (...positions) => {
      for (const position of positions)
        next({ data: { ticketChanged: eventAt(position) }, extensions: { feed: { position } } })
    },
    tell: (extensions) => next({ extensions }),
    fail: (code) => {
      next({ errors: [{ message: code, extensions: { code } }] })
      response.end("event: complete\ndata:\n\n")
    },
    end: () => response.end()
  }
}

/** What a feed gives in short, until it has given `last`. */
const given = async (line: Line, last: string, options: FeedOptions = {}) => {
  const desk = await start(line)
  const items: Array<string> = []
  for await (const item of desk.client.feeds.ticket(ticketId, options)) {
    if (item.type === "change") items.push(String(item.position))
    if (item.type === "snapshot") items.push(`${item.reason} ${item.position}`)
    if (item.type === "state") items.push(item.state)
    if (item.type === "ended") items.push(`ended ${item.code}`)
    if (items.at(-1) === last || item.type === "ended") break
  }
  return { ...desk, items }
}

const live = (position: number) => ({ feed: { state: "live", position } })

describe("a feed where sockets", () => {
  it.each(["refuse", "vanish", "cut"] as const)(
    "%s goes by streams after some, with its cursor, and stays with them",
    async (way) => {
      const { afters, items, sockets } = await given(
        {
          socket: () => way,
          stream: (stream, count) => {
            stream.tell(live(stream.after ?? 0))
            if (count === 1) stream.give(6, 7)
            else stream.give(7, 8)
            if (count === 1) stream.end()
          }
        },
        "8",
        { from: 5 }
      )
      expect(sockets).toEqual(Array.from({ length: Feeds.socketsBrokenMax }, () => way))
      expect(afters).toEqual([5, 7])
      expect(items.filter((item) => item !== "away" && item !== "live")).toEqual(["6", "7", "8"])
    }
  )

  it("and streams both fail tries them in turn, until one of them works", async () => {
    const { items, sockets } = await given(
      {
        socket: (count) => (count < 5 ? "refuse" : "pass"),
        stream: ({ refuse }) => refuse(503, { "retry-after": "1" })
      },
      "99",
      { from: 5 }
    )
    expect(sockets).toEqual(["refuse", "refuse", "refuse", "refuse", "pass"])
    expect(items).toEqual(["away", "live", "99"])
  })
})

describe("a stream", () => {
  const refuse = () => "refuse" as const

  it("that begins now begins where it is told to be, so that a cut before the first event loses none", async () => {
    const { afters } = await given(
      {
        socket: refuse,
        stream: (stream, count) => {
          stream.tell(live(40))
          if (count === 1) stream.end()
          else stream.give(41)
        }
      },
      "41"
    )
    expect(afters).toEqual([null, 40])
  })

  it("moves on while nothing happens, and tells when the desk's feed is stale", async () => {
    const { afters, items } = await given(
      {
        socket: refuse,
        stream: (stream, count) => {
          if (count === 2) return stream.give(61)
          for (const position of [10, 60]) stream.tell(live(position))
          stream.tell({ feed: { state: "stale" } })
          stream.tell({ ended: { code: "RESUME_ELSEWHERE", retryAfterMs: 5 } })
        }
      },
      "61",
      { from: 9 }
    )
    expect(afters).toEqual([9, 60])
    expect(items).toEqual(["away", "live", "stale", "away", "61"])
  })

  it("whose token ran out asks for another and goes on; so does one that is refused in the desk's words", async () => {
    const { afters, tokens } = await given(
      {
        socket: refuse,
        stream: (stream, count) => {
          if (count === 2) return stream.refuse(401, { "www-authenticate": "Bearer" })
          stream.tell(live(stream.after ?? 0))
          stream.give(count)
          if (count === 1) stream.fail("TOKEN_EXPIRED")
        }
      },
      "3",
      { from: 0 }
    )
    expect(afters).toEqual([0, 1, 1])
    expect(tokens.slice(-3)).toEqual([{ refused: false }, { refused: true }, { refused: true }])
  })

  it("that somebody else refuses with 401 ends no feed", async () => {
    const { items } = await given(
      { socket: refuse, stream: (stream, count) => (count < 6 ? stream.refuse(401) : stream.give(6)) },
      "6",
      { from: 5 }
    )
    expect(items).toEqual(["away", "6"])
  })

  it("whose events are gone reads a snapshot and goes on after it", async () => {
    const { afters, items } = await given(
      {
        socket: refuse,
        stream: (stream, count) => (count === 1 ? stream.fail("RESYNC_REQUIRED") : stream.give(71))
      },
      "71",
      { from: 5 }
    )
    expect(afters).toEqual([5, 70])
    expect(items).toEqual(["away", "resync 70", "71"])
  })

  it("that says what is not of the protocol ends the feed", async () => {
    const { items } = await given({ socket: refuse, stream: ({ tell }) => tell({ x: 1 }) }, "", { from: 5 })
    expect(items).toEqual(["away", "ended NOT_UNDERSTOOD"])
  })
})

describe("the way", () => {
  const at = (clock: { nowMs: number }) => new Ways({ ...quickTiming(), nowMs: () => clock.nowMs })
  const breakAll = (ways: Ways) => {
    for (let count = 0; count < Feeds.socketsBrokenMax; count++) ways.socketBroke(null)
  }

  it("is a socket until so many in a row broke", () => {
    const ways = at({ nowMs: 0 })
    for (let count = 0; count < 10; count++) {
      ways.socketBroke(null)
      ways.socketBroke(0)
      ways.socketWorked()
    }
    expect(ways.isByStream()).toBe(false)
    breakAll(ways)
    expect(ways.isByStream()).toBe(true)
  })

  it("is a socket again after a while, and one that breaks is enough", () => {
    const clock = { nowMs: 0 }
    const ways = at(clock)
    breakAll(ways)
    clock.nowMs += Feeds.streamsForMs
    expect(ways.isByStream()).toBe(false)
    ways.socketBroke(null)
    expect(ways.isByStream()).toBe(true)
  })

  it("stays a socket where sockets live for a while and are cut then", () => {
    const clock = { nowMs: 0 }
    const ways = at(clock)
    for (let count = 0; count < 10; count++) {
      clock.nowMs += Feeds.cutAtOnceMs
      ways.socketBroke(clock.nowMs - Feeds.cutAtOnceMs)
    }
    expect(ways.isByStream()).toBe(false)
  })
})
