// A gateway for the client's feeds: speaks graphql-transport-ws as the realtime gateway does, and does in each connection what the test says.
// Beside it the one query that a snapshot needs.
import { createServer } from "node:http"
import { WebSocketServer } from "ws"
import { type Client, createClient } from "../src/Client.ts"
import { quickTiming } from "./LocalDesk.ts"

export interface Subscribed {
  readonly after: number | null
  /** Events at these positions. */
  readonly give: (...positions: ReadonlyArray<number>) => void
  readonly fail: (code: string) => void
  readonly ping: (state: "live" | "stale", position?: number) => void
  readonly close: (code: number, reason?: unknown) => void
}

export interface TestGateway {
  readonly client: Client
  readonly tokens: Array<{ readonly refused: boolean }>
  /** `after` of each subscription, in their order. */
  readonly afters: Array<number | null>
  /** Once the client has let a subscription go. */
  readonly letGo: Promise<void>
  readonly stop: () => Promise<void>
}

export interface Script {
  /** Null: connections are acknowledged without saying where the feed is. */
  readonly position: number | null
  /** Null: it may; else the code and the reason with which it is turned away. */
  readonly admit?: (connection: number) => readonly [code: number, reason: string] | null
  readonly subscribed: (subscription: Subscribed, count: number) => void
  /** It stays connected and answers no ping. */
  readonly isDeaf?: (connection: number) => boolean
  /** Where a snapshot stands. */
  readonly snapshotPosition?: (count: number) => number
  /** What it shows; null unless told. */
  readonly snapshot?: ReturnType<typeof ticketAt>
}

/** As a customer is shown it, with so much. */
export const ticketAt = (shownVersion: number) => ({
  id: "01890a5d-ac96-774b-bcce-b302099a8057",
  version: null,
  shownVersion,
  number: 1,
  subject: "Printer",
  status: "open",
  priority: "normal",
  requester: { id: "bob", name: null, email: null },
  assignee: null,
  messageCount: 0,
  internalMessageCount: null,
  openedAt: "2026-01-01T00:00:00.000Z",
  updatedAt: "2026-01-01T00:00:00.000Z",
  attachments: [],
  conversation: { nodes: [], pageInfo: { hasNextPage: false, endCursor: null } }
})

export const eventAt = (position: number) => ({
  eventId: `event-${position}`,
  type: "TicketReplied",
  occurredAt: "2026-01-01T00:00:00.000Z",
  actor: { id: "ada", name: null },
  ticketId: "01890a5d-ac96-774b-bcce-b302099a8057",
  streamVersion: position,
  change: "changed",
  status: "open",
  previousStatus: "open",
  assigneeId: null,
  requesterId: "bob",
  number: null,
  subject: null,
  priority: null,
  audience: "public",
  messageId: `message-${position}`,
  body: `message ${position}`,
  fileId: null,
  fileName: null
})

export const testGateway = async (script: Script): Promise<TestGateway> => {
  const server = createServer()
  const sockets = new WebSocketServer({ server, handleProtocols: () => "graphql-transport-ws" })
  const afters: Array<number | null> = []
  const letGo = Promise.withResolvers<void>()
  let connections = 0
  sockets.on("connection", (socket) => {
    const connection = ++connections
    const send = (message: unknown) => socket.send(JSON.stringify(message))
    socket.on("message", (data) => {
      const message = JSON.parse(String(data))
      if (message.type === "ping" && script.isDeaf?.(connection) !== true)
        send({ type: "pong", payload: message.payload })
      if (message.type === "connection_init") {
        const [code, reason] = script.admit?.(connection) ?? [null, ""]
        if (code !== null) return socket.close(code, reason)
        const { position } = script
        send({
          type: "connection_ack",
          payload: { feed: { state: "live", ...(position === null ? {} : { position }) } }
        })
      }
      if (message.type === "complete") letGo.resolve()
      if (message.type !== "subscribe") return
      const after: number | null = message.payload.variables.after ?? null
      afters.push(after)
      const { id } = message
      script.subscribed(
        {
          after,
          give: (...positions) => {
            for (const position of positions)
              send({
                type: "next",
                id,
                payload: { data: { ticketChanged: eventAt(position) }, extensions: { feed: { position } } }
              })
          },
          fail: (code) => send({ type: "error", id, payload: [{ message: code, extensions: { code } }] }),
          ping: (state, position) =>
            send({ type: "ping", payload: { feed: { state, ...(position === undefined ? {} : { position }) } } }),
          close: (code, reason) => socket.close(code, reason === undefined ? "" : JSON.stringify(reason))
        },
        afters.length
      )
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  let snapshots = 0
  const answer = async () => {
    const position = script.snapshotPosition?.(++snapshots) ?? 0
    const freshness = { source: "live", asOf: "2026-01-01T00:00:00.000Z", position }
    return new Response(JSON.stringify({ data: { ticket: script.snapshot ?? null }, extensions: { freshness } }))
  }
  const tokens: Array<{ readonly refused: boolean }> = []
  const client = createClient({
    urls: { commands: "", queries: "http://desk.test", realtime: `ws://127.0.0.1:${port}`, files: "" },
    token: (why) => {
      tokens.push(why)
      return "token"
    },
    fetch: answer,
    timing: quickTiming()
  })
  const stop = async () => {
    client.close()
    for (const socket of sockets.clients) socket.terminate()
    await new Promise((resolve) => server.close(resolve))
  }
  return { client, tokens, afters, letGo: letGo.promise, stop }
}
