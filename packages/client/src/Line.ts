// The socket that all subscriptions of a client share, through graphql-ws for the protocol. One `Session` is one connection: whatever ends it
// ends its subscriptions, and what a broken connection still says is not listened to. Whether and when to come back is for the
// subscriptions to say; here is only why it ended, and whether the line lives.
import { Result, Schema } from "effect"
import { createClient, type Client as WsClient } from "graphql-ws"
import { addressOf, another, type Desk, detailOf, join } from "./Desk.ts"
import { Feeds as Limits } from "./Limits.ts"

export type FeedState = "live" | "stale"

export type Ended =
  /** Come back, after so long at the least. */
  | { readonly type: "cut"; readonly adviceMs: number; readonly detail: string }
  | { readonly type: "tokenRefused"; readonly detail: string }
  /** The desk no longer holds what comes next. */
  | { readonly type: "resync" }
  /** It cannot go on: the client is wrong. */
  | { readonly type: "fatal"; readonly code: string; readonly message: string }

export interface Subscriber {
  readonly query: string
  readonly variables: Record<string, unknown> & { after?: number | null }
  readonly next: (position: number, data: unknown) => void
  /** It is no feed of events: `next` is given 0 for a position. */
  readonly hasNoPositions?: true
  /** The feed's state, and where it is when this subscription has everything up to there. */
  readonly feed: (state: FeedState, position: number | null) => void
  /** Once; nothing follows. */
  readonly ended: (why: Ended) => void
}

export interface Line {
  /** Ends with the function that it gives; then nothing follows. */
  readonly subscribe: (subscriber: Subscriber) => () => void
  readonly close: () => void
}

export const makeLine = (desk: Desk): Line => {
  let session: Session | null = null
  return {
    subscribe: (subscriber) => {
      if (session === null || session.isOver) session = new Session(desk)
      return session.subscribe(subscriber)
    },
    close: () => session?.end({ type: "cut", adviceMs: 0, detail: "closed" })
  }
}

interface Running {
  readonly subscriber: Subscriber
  readonly stop: () => void
  /** The probe sent after it: once that is answered the desk knows of this subscription, and its positions count for it too. */
  probe: number | null
  isConfirmed: boolean
}

const FeedReport = Schema.Struct({
  feed: Schema.Struct({ state: Schema.Literals(["live", "stale"]), position: Schema.optionalKey(Schema.Natural) })
})
const decodeReport = Schema.decodeUnknownResult(FeedReport)
const decodeProbe = Schema.decodeUnknownResult(Schema.Struct({ probe: Schema.Natural }))
const decodeNext = Schema.decodeUnknownResult(Schema.Struct({ feed: Schema.Struct({ position: Schema.Natural }) }))

class Session {
  isOver = false
  readonly #desk: Desk
  readonly #ws: WsClient
  readonly #running = new Set<Running>()
  #socket: { send(text: string): void; readonly readyState: number } | null = null
  #probes = 0
  #pinging: ReturnType<typeof setTimeout> | undefined
  #deadline: ReturnType<typeof setTimeout> | undefined

  constructor(desk: Desk) {
    this.#desk = desk
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
        error: (error) => this.end(cut(detailOf(error instanceof Error ? error : new Error("the connection failed")))),
        closed: (event) => this.end(endOf(event))
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
    this.#deadline = setTimeout(() => this.end(cut(otherwise)), ms)
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

/** Sessions of one desk come one after the other; the next one asks for another token. */
const refusedBy = new WeakSet<Desk>()

const lingerMs = 1_000
const openState = 1

const socketUrl = (address: string): string => {
  const url = address.replace(/^http/, "ws")
  return url.endsWith("/graphql") ? url : join(url, "/graphql")
}

const isSocket = (value: unknown): value is { send(text: string): void; readonly readyState: number } =>
  typeof value === "object" && value !== null && "send" in value && typeof value.send === "function"

const cut = (detail: string, adviceMs = 0): Ended => ({ type: "cut", adviceMs, detail })

const decodeErrors = Schema.decodeUnknownResult(
  Schema.NonEmptyArray(
    Schema.Struct({
      message: Schema.String,
      extensions: Schema.optionalKey(Schema.Struct({ code: Schema.optionalKey(Schema.String) }))
    })
  )
)

const refusalOf = ({
  extensions,
  message
}: {
  readonly message: string
  readonly extensions?: { readonly code?: string }
}): Ended => {
  const code = extensions?.code ?? "INTERNAL"
  if (code === "RESYNC_REQUIRED") return { type: "resync" }
  if (code === "INTERNAL" || code === "TOO_MANY_OPERATIONS") return cut(message)
  return { type: "fatal", code, message }
}

const decodeClose = Schema.decodeUnknownResult(Schema.Struct({ code: Schema.Int, reason: Schema.String }))
const decodeReason = Schema.decodeUnknownResult(
  Schema.fromJsonString(
    Schema.Struct({ code: Schema.optionalKey(Schema.String), retryAfterMs: Schema.optionalKey(Schema.Natural) })
  )
)

/** The table of codes in the realtime flow's README. */
const endOf = (event: unknown): Ended => {
  const close = decodeClose(pick(event))
  if (Result.isFailure(close)) return cut("the connection ended")
  const { code, reason } = close.success
  const told = decodeReason(reason)
  const { code: name = reason, retryAfterMs = 0 } = Result.isSuccess(told) ? told.success : {}
  if (code === 4403) return { type: "tokenRefused", detail: name }
  if (code === 1009 || clientFaults.has(code)) return { type: "fatal", code: String(code), message: name }
  return cut(`closed with ${code} ${name}`, retryAfterMs)
}

const clientFaults = new Set([4400, 4401, 4406, 4409, 4429])

/** A close event's fields are on its prototype, where a schema does not look. */
const pick = (event: unknown): unknown =>
  typeof event === "object" && event !== null
    ? { code: Reflect.get(event, "code"), reason: Reflect.get(event, "reason") }
    : event
