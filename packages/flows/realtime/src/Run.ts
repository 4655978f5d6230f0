// A subscription as graphql-ws drives it: an iterator that yields nothing. Its events go straight to the connection, already encoded,
// because through the iterator every socket would shape and encode every event for itself; graphql-ws keeps what is the protocol's: it
// starts the subscription by asking for the first item, ends it by `return`, and tells the client about `complete` and `error`.
// An event stream drives it the same way.
import type { ExecutionResult } from "graphql"
import { slowClient } from "./Closing.ts"
import type { Connection, Frame } from "./Connection.ts"
import type { Sink } from "./Hub.ts"

export interface Run extends AsyncIterableIterator<ExecutionResult> {
  return(): Promise<IteratorResult<ExecutionResult>>
  /** It has every event up to the feed's head. */
  isCaughtUp(): boolean
}

interface RunOptions<Started> {
  readonly frame: Frame
  readonly connection: Connection
  /** Why it may not start, where that takes asking; it may have ended when the answer comes. */
  readonly refusal?: () => Promise<Error | null>
  readonly start: (sink: Sink) => Started
  readonly ended: (subscription: Started | null) => void
}

const done = { done: true, value: undefined } as const

export const makeRun = <Started extends { readonly isLive: boolean }>({
  connection,
  ended,
  frame,
  refusal,
  start
}: RunOptions<Started>): Run => {
  const end = Promise.withResolvers<IteratorResult<ExecutionResult>>()
  // Whoever asked for the next item hears of a failure; when nobody has asked yet it must not count as unhandled.
  end.promise.catch(() => undefined)
  let subscription: Started | null = null
  let isStarted = false
  let isEnded = false
  const sink: Sink = {
    send: (encoded, position) => connection.send(frame(encoded, position)),
    get bufferedBytes() {
      return connection.bufferedBytes
    },
    fail: (error) => end.reject(error),
    overrun: () => connection.close(slowClient)
  }
  const begin = () => {
    if (!isEnded && connection.isOpen) subscription = start(sink)
  }
  const run: Run = {
    [Symbol.asyncIterator]: () => run,
    isCaughtUp: () => subscription?.isLive ?? false,
    next: () => {
      if (isStarted) return end.promise
      isStarted = true
      if (refusal === undefined) begin()
      else refusal().then((refused) => (refused === null ? begin() : end.reject(refused)), end.reject)
      return end.promise
    },
    return: () => {
      isStarted = true
      isEnded = true
      end.resolve(done)
      ended(subscription)
      return Promise.resolve(done)
    }
  }
  return run
}
