// A connection by server-sent events, as "GraphQL over Server-Sent Events" has it in its distinct connections mode: one operation, one
// answer that goes on. Until it begins it is a plain HTTP exchange and is refused as one. Afterwards an end that a client may come back
// from is a cut with advice and no `complete`, so that an `EventSource` resumes by itself; what cannot go on ends with errors and `complete`.
import type { ServerResponse } from "node:http"
import { Realtime } from "@holdfast/resilience/Limits"
import { Duration } from "effect"
import { CloseCode } from "graphql-ws"
import { type Closing, tooManyConnections } from "./Closing.ts"
import type { Frame, Message, Transport } from "./Connection.ts"
import type { FeedReport } from "./Feed.ts"
import { type Refusal, refusal } from "./StreamRequest.ts"

/** An error as clients read it. */
export interface Told {
  readonly message: string
  readonly extensions?: Readonly<Record<string, unknown>>
}

interface Beginning {
  /** How long clients wait before they come back, if nobody says otherwise. */
  readonly retryMs: number
  /** The client asked to be told of the feed by messages, not only by comments. */
  readonly tellsFeed: boolean
}

const endMs = Duration.toMillis(Realtime.streamEndDeadline)
const blank = Buffer.from("\n\n")
const complete = "event: complete\ndata:\n\n"
const nextPrefix = "event: next\ndata: "
const next = (result: unknown): string => `${nextPrefix}${JSON.stringify(result)}\n\n`

export class EventStream implements Transport {
  readonly #response: ServerResponse
  readonly #took: () => void
  #phase: "asked" | "begun" | "over" = "asked"
  #tellsFeed = false

  /** `took`: the client has taken something. */
  constructor(response: ServerResponse, took: () => void) {
    this.#response = response
    this.#took = took
    response.once("close", () => {
      this.#phase = "over"
    })
    response.on("error", () => this.terminate())
  }

  get isOpen(): boolean {
    return this.#phase !== "over"
  }

  get bufferedBytes(): number {
    return this.#response.writableLength
  }

  begin({ retryMs, tellsFeed }: Beginning): void {
    if (this.#phase !== "asked") return
    this.#phase = "begun"
    this.#tellsFeed = tellsFeed
    this.#response.setHeader("content-type", "text/event-stream; charset=utf-8")
    this.#response.setHeader("cache-control", "no-store, no-transform")
    // nginx and those who learned from it would collect what we send.
    this.#response.setHeader("x-accel-buffering", "no")
    this.#response.writeHead(200)
    this.send(`retry: ${retryMs}\n\n`)
  }

  frame(_id: string): Frame {
    return (encoded, position) => {
      const id = position === null ? "" : `id: ${position}\n`
      return { own: Buffer.from(`${id}${nextPrefix}`), encoded }
    }
  }

  send(message: Message): void {
    if (this.#phase !== "begun") return
    const whole = typeof message === "string" ? message : Buffer.concat([message.own, message.encoded, blank])
    this.#response.write(whole, this.#took)
  }

  /** A comment is for proxies and people; `id` alone moves a browser's `Last-Event-ID` and is no event. */
  tell(report: FeedReport): void {
    const id = report.position === undefined ? "" : `id: ${report.position}\n`
    this.send(
      this.#tellsFeed
        ? `${id}${next({ extensions: { feed: report } })}`
        : `: ${JSON.stringify({ feed: report })}\n${id}\n`
    )
  }

  /** The errors of the operation, after which it is over. */
  fail(errors: ReadonlyArray<Told>): void {
    this.#finish(next({ errors }) + complete)
  }

  refuse({ body, headers, status }: Refusal): void {
    if (this.#phase !== "asked") return
    this.#phase = "over"
    this.#response.writeHead(status, {
      "cache-control": "no-store",
      ...(body === null ? {} : { "content-type": "application/json; charset=utf-8" }),
      ...headers
    })
    this.#response.end(body === null ? undefined : JSON.stringify(body))
  }

  close(closing: Closing): void {
    if (this.#phase === "asked") this.refuse(refusalOf(closing))
    else if (closing.code === CloseCode.Forbidden) this.fail([toldOf(closing)])
    else this.#finish(this.#farewell(closing))
  }

  terminate(): void {
    this.#phase = "over"
    this.#response.destroy()
  }

  #farewell({ name, retryAfterMs }: Closing): string {
    const ended = { code: name, retryAfterMs }
    return `retry: ${retryAfterMs}\n${this.#tellsFeed ? next({ extensions: { ended } }) : `: ${JSON.stringify({ ended })}\n\n`}`
  }

  #finish(words: string): void {
    if (this.#phase !== "begun") return
    this.#phase = "over"
    this.#response.end(words, this.#took)
    // Who takes nothing does not take this either, and would keep what is unsent for as long as TCP hopes.
    const leave = setTimeout(() => this.#response.destroy(), endMs)
    this.#response.once("close", () => clearTimeout(leave))
  }
}

const messages: Readonly<Record<string, string>> = {
  UNAUTHENTICATED: "A valid bearer token is needed.",
  TOKEN_EXPIRED: "The token's time is over: come back with a fresh one and resume.",
  TOO_MANY_CONNECTIONS: "This person has too many connections: close another first."
}

const toldOf = ({ name }: Closing): Told => ({
  message: messages[name] ?? "The desk cannot serve this just now; try again.",
  extensions: { code: name }
})

const refusalOf = (closing: Closing): Refusal => {
  const { extensions, message } = toldOf(closing)
  const code = String(extensions?.code)
  const retryAfter = { "retry-after": String(Math.max(1, Math.ceil(closing.retryAfterMs / 1000))) }
  if (closing.code === CloseCode.Forbidden) return refusal(401, code, message, { "www-authenticate": "Bearer" })
  return refusal(closing.code === tooManyConnections.code ? 429 : 503, code, message, retryAfter)
}
