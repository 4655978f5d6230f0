// Subscribers over graphql-ws: each keeps the newest position that arrived and comes back with it when it is cut, as the protocol says. Every
// position that arrives is in the ledger, as often as it came and in the order in which it came. Each subscriber is also asked again and
// again whether it has a feed: live, told that it is stale, or cut off.
import { DrillLoad } from "@holdfast/resilience/Limits"
import { Duration } from "effect"
import type { FeedTerms } from "./Ledger.ts"
import { type Actor, asRecord, type World } from "./LoadWorld.ts"

export interface Feed {
  readonly terms: FeedTerms
  readonly lastPosition: number
  readonly cuts: number
  /** Times that the gateway no longer had what was missed; each is a hole that only a snapshot fills. */
  readonly resyncs: number
  stop(): void
}

const fields = "position occurredAt"

interface FeedState {
  cursor: number
  lastPosition: number
  cuts: number
  resyncs: number
  state: "new" | "live" | "stale" | "cut"
  heardMs: number
}

export const startFeed = (world: World, terms: FeedTerms, actor: Actor): Feed => {
  const { tally } = world
  const state: FeedState = { cursor: terms.after, lastPosition: 0, cuts: 0, resyncs: 0, state: "new", heardMs: 0 }
  let stopped = false
  world.ledger.feed(terms)
  const comeBack = () => {
    if (stopped) return
    state.cuts++
    state.state = "cut"
    const delayMs = Math.random() * Duration.toMillis(DrillLoad.resubscribeMax)
    setTimeout(() => {
      if (!stopped) connection = connect(world, terms, actor, state, comeBack)
    }, delayMs).unref()
  }
  let connection = connect(world, terms, actor, state, comeBack)
  const look = () => {
    if (tally.nowMs() - state.heardMs > Duration.toMillis(DrillLoad.feedSilenceMax)) connection.abandon()
    sampleFeed(world, state)
  }
  const sample = setInterval(look, Duration.toMillis(DrillLoad.feedSampleInterval))
  const stop = () => {
    stopped = true
    clearInterval(sample)
    connection.abandon()
  }
  return {
    ...{ terms, stop },
    get lastPosition() {
      return state.lastPosition
    },
    get cuts() {
      return state.cuts
    },
    get resyncs() {
      return state.resyncs
    }
  }
}

/** One that was never there has not been lost. */
const sampleFeed = ({ tally }: World, { state }: FeedState) => {
  if (state === "new") return
  const outcome = { live: "live", stale: "cached", cut: "failed" } as const
  const nowMs = tally.nowMs()
  const error = state === "cut" ? "not connected" : ""
  tally.record({ path: "realtime", dueMs: nowMs, endMs: nowMs, outcome: outcome[state], error, lastedMs: Number.NaN })
}

const documentOf = ({ ticketId }: FeedTerms): string =>
  ticketId === undefined
    ? `subscription ($after: Position) { change: ticketListChanged(list: all, after: $after) { ${fields} } }`
    : `subscription ($id: ID!, $after: Position) { change: ticketChanged(id: $id, after: $after) { ${fields} } }`

interface Connection {
  /** Ends it now, whether or not the other side still answers. */
  abandon(): void
}

const connect = (world: World, terms: FeedTerms, actor: Actor, state: FeedState, ended: () => void): Connection => {
  const socket = new WebSocket(`${world.target.realtimeUrl.replace(/^http/, "ws")}/graphql`, "graphql-transport-ws")
  state.heardMs = world.tally.nowMs()
  let isOver = false
  const over = () => {
    if (isOver) return
    isOver = true
    socket.close(1000)
    ended()
  }
  const say = (message: object) => socket.send(JSON.stringify(message))
  socket.addEventListener("open", () =>
    say({ type: "connection_init", payload: { authorization: actor.authorization } })
  )
  socket.addEventListener("message", ({ data }) => {
    const message = asRecord(JSON.parse(String(data)))
    if (message === undefined || isOver) return
    state.heardMs = world.tally.nowMs()
    hear(world, terms, state, message, say, over)
  })
  socket.addEventListener("close", over)
  socket.addEventListener("error", over)
  return { abandon: over }
}

type Message = Readonly<Record<string, unknown>>

const hear = (
  world: World,
  terms: FeedTerms,
  state: FeedState,
  message: Message,
  say: (answer: object) => void,
  leave: () => void
) => {
  switch (message.type) {
    case "connection_ack": {
      noteFeed(state, message)
      const variables = { after: state.cursor, ...(terms.ticketId === undefined ? {} : { id: terms.ticketId }) }
      return say({ id: "1", type: "subscribe", payload: { query: documentOf(terms), variables } })
    }
    case "ping":
      noteFeed(state, message)
      return say({ type: "pong" })
    case "next":
      return noteEvent(world, terms, state, message)
    case "error":
      noteError(state, message)
      return leave()
    case "complete":
      return leave()
    default:
      return undefined
  }
}

/** The gateway's word on its feed, and how far a quiet subscription has come. */
const noteFeed = (state: FeedState, message: Message) => {
  const feed = asRecord(asRecord(message.payload)?.feed)
  state.state = feed?.state === "stale" ? "stale" : "live"
  if (message.type === "ping" && typeof feed?.position === "number")
    state.cursor = Math.max(state.cursor, feed.position)
}

const noteEvent = ({ ledger, tally }: World, { number }: FeedTerms, state: FeedState, message: Message) => {
  const payload = asRecord(message.payload)
  const change = asRecord(asRecord(payload?.data)?.change)
  const position = Number(change?.position)
  if (!Number.isInteger(position)) return
  ledger.position(number, position)
  state.lastPosition = position
  const feed = asRecord(asRecord(payload?.extensions)?.feed)
  state.cursor = Math.max(state.cursor, position, Number(feed?.position ?? 0))
  tally.timed("realtime", Math.max(0, Date.now() - Date.parse(String(change?.occurredAt))))
}

const noteError = (state: FeedState, message: Message) => {
  const [error] = Array.isArray(message.payload) ? message.payload : []
  const extensions = asRecord(asRecord(error)?.extensions)
  if (extensions?.code !== "RESYNC_REQUIRED") return
  state.resyncs++
  if (typeof extensions.position === "number") state.cursor = extensions.position
}
