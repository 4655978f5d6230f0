// One subscription by server-sent events, through graphql-sse for the protocol: a connection of its own, over plain HTTP, for lines on which
// sockets do not live. It asks to be told of the feed, so that its cursor moves while nothing happens and a dead line is noticed.
import { Result, Schema } from "effect"
import { createClient, NetworkError } from "graphql-sse"
import { addressOf, another, type Desk, detailOf, join, retryAfterMs } from "./Desk.ts"
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
import type { Ways } from "./Ways.ts"

/** Ends with the function that it gives; then nothing follows. `closed`: once, however it ended. */
export const openStream = (desk: Desk, subscriber: Subscriber, ways: Ways, closed: () => void): (() => void) => {
  let isOver = false
  let isOpen = false
  let deadline: ReturnType<typeof setTimeout> | undefined
  const client = createClient({
    url: () => streamUrl(addressOf(desk.urls.realtime)),
    headers: async () => {
      const refused = refusedBy.has(desk)
      refusedBy.delete(desk)
      return { authorization: `Bearer ${await desk.getToken({ refused })}` }
    },
    // As for every request: whoever redirects shall not have the token.
    fetchFn: (url: string, init: RequestInit) => desk.fetch(url, { ...init, redirect: "error" }),
    retryAttempts: 0
  })
  const close = () => {
    isOver = true
    clearTimeout(deadline)
    client.dispose()
    closed()
  }
  const end = (why: Ended) => {
    if (isOver) return
    close()
    if (why.type === "tokenRefused") refusedBy.add(desk)
    else if (why.type === "cut") another(desk.urls.realtime)
    if (why.type === "cut" && !isOpen) ways.streamBroke()
    subscriber.ended(why)
  }
  const within = (ms: number, otherwise: string) => {
    clearTimeout(deadline)
    if (!isOver) deadline = setTimeout(() => end(cut(otherwise)), ms)
  }
  within(Limits.connectDeadlineMs, "the gateway does not answer")
  client.subscribe<unknown>(
    { query: subscriber.query, variables: subscriber.variables, extensions: { feed: true } },
    {
      next: (result) => {
        within(Limits.streamSilenceMs, "the line is dead")
        const why = isOver ? null : take(subscriber, result)
        if (why !== null) end(why)
      },
      error: (error) => end(endOf(error)),
      complete: () => end(cut("the desk ended the subscription"))
    },
    {
      connected: () => {
        isOpen = true
        within(Limits.streamSilenceMs, "the line is dead")
      }
    }
  )
  return close
}

const streamUrl = (address: string): string =>
  join(address.replace(/^ws/, "http").replace(/\/graphql\/?$/, ""), "/graphql/stream")

const decodeEnded = Schema.decodeUnknownResult(
  Schema.Struct({ ended: Schema.Struct({ code: Schema.String, retryAfterMs: Schema.Natural }) })
)

/** Why it ends, if it does. */
const take = (
  subscriber: Subscriber,
  { data, errors, extensions }: { readonly data?: unknown; readonly errors?: unknown; readonly extensions?: unknown }
): Ended | null => {
  if (errors !== undefined) return refused(errors)
  const ended = decodeEnded(extensions)
  if (Result.isSuccess(ended)) return cut(ended.success.ended.code, ended.success.ended.retryAfterMs)
  const report = decodeReport(extensions)
  const told = decodeNext(extensions)
  if (data === undefined && Result.isSuccess(report)) {
    const { position = null, state } = report.success.feed
    subscriber.feed(state, position)
  } else if (data !== undefined && subscriber.hasNoPositions === true) subscriber.next(0, data)
  else if (data !== undefined && Result.isSuccess(told)) subscriber.next(told.success.feed.position, data)
  else return { type: "fatal", code: "NOT_UNDERSTOOD", message: "an event is not what the protocol says" }
  return null
}

const refused = (errors: unknown): Ended => {
  const decoded = decodeErrors(errors)
  if (Result.isFailure(decoded)) return cut("the desk ended the subscription")
  const [error] = decoded.success
  const code = error.extensions?.code ?? ""
  return code === "TOKEN_EXPIRED" ? { type: "tokenRefused", detail: code } : refusalOf(error)
}

/** Only the desk refuses a token in these words; anybody on the way may answer 401. */
const endOf = (error: unknown): Ended => {
  const response = error instanceof NetworkError ? error.response : undefined
  if (!(response instanceof Response)) return cut(detailOf(error))
  const isOfDesk = response.headers.get("www-authenticate") === "Bearer"
  if (response.status === 401 && isOfDesk) return { type: "tokenRefused", detail: "UNAUTHENTICATED" }
  return cut(`answered with ${response.status}`, retryAfterMs(response.headers))
}
