// Who is on a ticket, whatever the gateway does: told again after a cut, the newest alone to a slow reader, and over when it cannot go on.
import { createServer } from "node:http"
import { describe, expect, it, onTestFinished } from "@effect/vitest"
import { type WebSocket, WebSocketServer } from "ws"
import { createClient } from "../src/Client.ts"
import type { PresenceItem } from "../src/Presence.ts"
import { quickTiming } from "./LocalDesk.ts"

const ticketId = "01890a5d-ac96-774b-bcce-b302099a8057"
const present = (...writers: ReadonlyArray<string>) => ({
  ticketId,
  people: writers.map((id) => ({ id, name: null, role: "agent", state: "writing" })),
  collision: writers.length > 1,
  isStaffWriting: writers.length > 0
})

interface Asked {
  readonly socket: WebSocket
  readonly id: string
  readonly variables: Record<string, unknown>
  readonly send: (message: Record<string, unknown>) => void
}

/** A gateway that does what the test says with each operation that is asked for. */
const gateway = async (asked: (operation: Asked, count: number) => void) => {
  const server = createServer()
  const sockets = new WebSocketServer({ server, handleProtocols: () => "graphql-transport-ws" })
  let count = 0
  sockets.on("connection", (socket) => {
    socket.on("message", (data) => {
      const message = JSON.parse(String(data))
      if (message.type === "ping") socket.send(JSON.stringify({ type: "pong", payload: message.payload }))
      if (message.type === "connection_init") {
        socket.send(JSON.stringify({ type: "connection_ack", payload: { feed: { state: "live" } } }))
      }
      if (message.type !== "subscribe") return
      const { id, payload } = message
      const send = (said: Record<string, unknown>) => socket.send(JSON.stringify({ id, ...said }))
      asked({ socket, id, variables: payload.variables, send }, ++count)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  const client = createClient({
    urls: { commands: "", queries: "", realtime: `ws://127.0.0.1:${port}`, files: "" },
    token: () => "token",
    timing: quickTiming()
  })
  onTestFinished(() => {
    client.close()
    sockets.close()
    server.close()
  })
  return client
}

const tell = ({ send }: Asked, ...writers: ReadonlyArray<string>) =>
  send({ type: "next", payload: { data: { presence: present(...writers) } } })

const until = async (items: AsyncIterable<PresenceItem>, isLast: (item: PresenceItem) => boolean) => {
  const seen: Array<PresenceItem> = []
  for await (const item of items) {
    seen.push(item)
    if (isLast(item)) break
  }
  return seen
}

describe("presence", () => {
  it("is told again after a cut", async () => {
    const client = await gateway((operation, count) => {
      tell(operation, ...(count === 1 ? ["ada"] : ["ada", "bob"]))
      if (count === 1) setTimeout(() => operation.socket.close(1012), 20)
    })
    const seen = await until(
      client.presence.watch(ticketId),
      (item) => item.type === "present" && item.present.collision
    )
    expect(seen.map(({ type }) => type)).toEqual(["present", "away", "present"])
  })

  it("keeps the newest alone for who is slow to read", async () => {
    const client = await gateway((operation) => {
      for (let n = 0; n < 100; n++) tell(operation, "ada")
      tell(operation, "ada", "bob")
    })
    const seen = await until(
      client.presence.watch(ticketId),
      (item) => item.type === "present" && item.present.collision
    )
    expect(seen.length).toBeLessThan(101)
  })

  it("comes again when it cannot be found out whose ticket it is, and ends when it is another's", async () => {
    const client = await gateway((operation, count) => {
      const code = count === 1 ? "READ_UNAVAILABLE" : "FORBIDDEN"
      operation.send({ type: "error", payload: [{ message: code, extensions: { code } }] })
    })
    const seen = await until(client.presence.watch(ticketId), ({ type }) => type === "ended")
    expect(seen.map(({ type }) => type)).toEqual(["away", "ended"])
    expect(seen.at(-1)).toMatchObject({ code: "FORBIDDEN" })
  })

  it("stops when it is told to", async () => {
    const stop = new AbortController()
    const client = await gateway((operation) => {
      tell(operation, "ada")
    })
    const seen = await until(client.presence.watch(ticketId, { signal: stop.signal }), () => {
      stop.abort()
      return false
    })
    expect(seen).toHaveLength(1)
  })
})

describe("typing", () => {
  it("says what is written and to whom, and whether it was told", async () => {
    const said: Array<unknown> = []
    const client = await gateway(({ send, variables }, count) => {
      said.push(variables)
      send({ type: "next", payload: count === 1 ? { data: { typing: true } } : { errors: [{ message: "no" }] } })
      send({ type: "complete" })
    })
    expect(await client.presence.typing(ticketId, true, "internal")).toBe(true)
    expect(await client.presence.typing(ticketId, false)).toBe(false)
    expect(said).toMatchObject([
      { id: ticketId, isTyping: true, audience: "internal" },
      { id: ticketId, isTyping: false, audience: "public" }
    ])
  })
})
