// The socket that all subscriptions of a client share, through graphql-ws for the protocol. One `Session` is one connection: whatever ends it
// ends its subscriptions, and what a broken connection still says is not listened to. Whether and when to come back is for the
// subscriptions to say; here is only why it ended, and whether the line lives. Where sockets do not live at all, as behind some proxies, each
// subscription goes by an event stream of its own for a while.
import { Result, Schema } from "effect"
import { createClient, type Client as WsClient } from "graphql-ws"
import { addressOf, another, type Desk, detailOf, join } from "./Desk.ts"
import {
  cut,
  decodeErrors,
  decodeNext,
  decodeReport,
  type Ended,
  refusalOf,
  refusedBy,
  type Subscriber
} from "./Ended.ts"
import { Feeds as Limits } from "./Limits.ts"
import { openStream } from "./Stream.ts"
import { Ways } from "./Ways.ts"

export interface Line {
  /** Ends with the function that it gives; then nothing follows. */
  readonly subscribe: (subscriber: Subscriber) => () => void
  readonly close: () => void
}

export const makeLine = (desk: Desk): Line => {
  const ways = new Ways(desk.timing)
  const streams = new Set<() => void>()
  let session: Session | null = null
  const byStream = (subscriber: Subscriber) => {
    const close = openStream(desk, subscriber, ways, () => streams.delete(close))
    streams.add(close)
    return close
  }
  return {
    subscribe: (subscriber) => {
      if ((session === null || session.isOver) && ways.isByStream()) return byStream(subscriber)
      if (session === null || session.isOver) session = new Session(desk, ways)
      return session.subscribe(subscriber)
    },
    close: () => {
      session?.end(cut("closed"))
      for (const close of streams) close()
    }
  }
}

interface Running {
  readonly subscriber: Subscriber
  readonly stop: () => void
  /** The probe sent after it: once that is answered the desk knows of this subscription, and its positions count for it too. */
  probe: number | null
  isConfirmed: boolean
}

const decodeProbe = Schema.decodeUnknownResult(Schema.Struct({ probe: Schema.Natural }))

class Session {
  isOver = false
  readonly #desk: Desk
  readonly #ways: Ways
  readonly #ws: WsClient
  readonly #running = new Set<Running>()
  #socket: { send(text: string): void; readonly readyState: number } | null = null
  #probes = 0
  #pinging: ReturnType<typeof setTimeout> | undefined
  #deadline: ReturnType<typeof setTimeout> | undefined

  #acknowledgedAtMs: number | null = null

  constructor(desk: Desk, ways: Ways) {
    this.#desk = desk
    this.#ways = ways
    this.#ws = createClient({
      url: () => socketUrl(addressOf(desk.urls.realtime)),
      connectionParams: async () => {
        const refused = refusedBy.has(desk)
        refusedBy.delete(desk)
        return { authorization: `Bearer ${await desk.getToken({ refused })}` }
      },
      lazyCloseTimeout: lingerMs,
      retryAttempts: 0,
      on: {
        connecting: () => this.#within(Limits.connectDeadlineMs, "the gateway does not answer"),
        connected: (socket, payload) => this.#connected(socket, payload),
        message: () => this.#heard(),
        ping: (received, payload) => received && this.#told(payload),
        pong: (received, payload) => received && this.#confirm(payload),
        error: (error) => this.#broke(detailOf(error instanceof Error ? error : new Error("the connection failed"))),
        closed: (event) => this.#closed(event)
      }
    })
  }

  subscribe(subscriber: Subscriber): () => void {
    const running: Running = {
      subscriber,
      probe: null,
      isConfirmed: false,
      stop: this.#ws.subscribe(
        { query: subscriber.query, variables: subscriber.variables },
        {
          next: (result) => this.#running.has(running) && this.#next(running, result),
          error: (error) => this.#failed(running, error),
          complete: () => this.#finish(running, cut("the desk ended the subscription"))
        }
      )
    }
    this.#running.add(running)
    if (this.#socket !== null) this.#askSoon()
    return () => {
      this.#running.delete(running)
      running.stop()
    }
  }

  /** Nobody at the desk ended it. */
  #broke(detail: string): void {
    if (!this.isOver) this.#ways.socketBroke(this.#acknowledgedAtMs)
    this.end(cut(detail))
  }

  #closed(event: unknown): void {
    const why = endOf(event)
    if (why === null) this.#broke("the connection ended")
    else {
      if (!this.isOver) this.#ways.socketWorked()
      this.end(why)
    }
  }

  end(why: Ended): void {
    if (this.isOver) return
    this.isOver = true
    clearTimeout(this.#pinging)
    clearTimeout(this.#deadline)
    if (why.type === "tokenRefused") refusedBy.add(this.#desk)
    else if (why.type === "cut" && this.#running.size > 0) another(this.#desk.urls.realtime)
    for (const running of [...this.#running]) this.#finish(running, why)
    this.#ws.terminate()
  }

  #finish(running: Running, why: Ended): void {
    if (!this.#running.delete(running)) return
    running.stop()
    running.subscriber.ended(why)
  }

  #connected(socket: unknown, payload: unknown): void {
    this.#heard()
    this.#acknowledgedAtMs = this.#desk.timing.nowMs()
    if (isSocket(socket)) this.#socket = socket
    const report = decodeReport(payload)
    const position = Result.isSuccess(report) ? (report.success.feed.position ?? null) : null
    for (const { subscriber } of this.#running) {
      // What happens from here on is wanted: said by position, a cut before the first event costs nothing.
      subscriber.variables.after ??= position
      if (Result.isSuccess(report)) subscriber.feed(report.success.feed.state, null)
    }
    this.#askSoon()
  }

  /** After the subscriptions, which graphql-ws sends once it has the connection. */
  #askSoon(): void {
    setTimeout(() => this.#ask(), 0)
  }

  /** Probes the line: the answer shows that the desk has read what was sent before. */
  #ask(): void {
    if (this.isOver || this.#socket === null) return
    const probe = ++this.#probes
    for (const running of this.#running) running.probe ??= probe
    if (this.#socket.readyState === openState) this.#socket.send(JSON.stringify({ type: "ping", payload: { probe } }))
    this.#within(Limits.pongDeadlineMs, "the line is dead")
  }

  #confirm(payload: unknown): void {
    const answered = decodeProbe(payload)
    if (Result.isFailure(answered)) return
    for (const running of this.#running) {
      if (running.probe !== null && running.probe <= answered.success.probe) running.isConfirmed = true
    }
  }

  /** Anything that comes shows that the line lives; a long message may stand before the answer to a probe. */
  #heard(): void {
    clearTimeout(this.#deadline)
    clearTimeout(this.#pinging)
    if (!this.isOver) this.#pinging = setTimeout(() => this.#ask(), Limits.pingIntervalMs)
  }

  #within(ms: number, otherwise: string): void {
    clearTimeout(this.#deadline)
    this.#deadline = setTimeout(() => this.#broke(otherwise), ms)
  }

  #told(payload: unknown): void {
    const report = decodeReport(payload)
    if (Result.isFailure(report)) return
    const { position = null, state } = report.success.feed
    for (const { isConfirmed, subscriber } of this.#running) subscriber.feed(state, isConfirmed ? position : null)
  }

  #next(
    { subscriber }: Running,
    { data, errors, extensions }: { data?: unknown; errors?: unknown; extensions?: unknown }
  ): void {
    const told = decodeNext(extensions)
    if (subscriber.hasNoPositions === true) subscriber.next(0, data)
    else if (errors === undefined && Result.isSuccess(told)) subscriber.next(told.success.feed.position, data)
    else this.end({ type: "fatal", code: "NOT_UNDERSTOOD", message: "an event is not what the protocol says" })
  }

  /** A subscription's own error; the socket's end comes by `closed`. */
  #failed(running: Running, error: unknown): void {
    const errors = decodeErrors(error)
    if (Result.isSuccess(errors)) this.#finish(running, refusalOf(errors.success[0]))
    else this.#finish(running, cut("the connection ended"))
  }
}

const lingerMs = 1_000
const openState = 1

const socketUrl = (address: string): string => {
  const url = address.replace(/^http/, "ws")
  return url.endsWith("/graphql") ? url : join(url, "/graphql")
}

const isSocket = (value: unknown): value is { send(text: string): void; readonly readyState: number } =>
  typeof value === "object" && value !== null && "send" in value && typeof value.send === "function"

const decodeClose = Schema.decodeUnknownResult(Schema.Struct({ code: Schema.Int, reason: Schema.String }))
const decodeReason = Schema.decodeUnknownResult(
  Schema.fromJsonString(
    Schema.Struct({ code: Schema.optionalKey(Schema.String), retryAfterMs: Schema.optionalKey(Schema.Natural) })
  )
)

/** The table of codes in the realtime flow's README. Null: cut without a word. */
const endOf = (event: unknown): Ended | null => {
  const close = decodeClose(pick(event))
  if (Result.isFailure(close) || close.success.code === cutCode) return null
  const { code, reason } = close.success
  const told = decodeReason(reason)
  const { code: name = reason, retryAfterMs = 0 } = Result.isSuccess(told) ? told.success : {}
  if (code === 4403) return { type: "tokenRefused", detail: name }
  if (code === 1009 || clientFaults.has(code)) return { type: "fatal", code: String(code), message: name }
  return cut(`closed with ${code} ${name}`, retryAfterMs)
}

const cutCode = 1006
const clientFaults = new Set([4400, 4401, 4406, 4409, 4429])

/** A close event's fields are on its prototype, where a schema does not look. */
const pick = (event: unknown): unknown =>
  typeof event === "object" && event !== null
    ? { code: Reflect.get(event, "code"), reason: Reflect.get(event, "reason") }
    : event
