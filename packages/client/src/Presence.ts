// Who is on a ticket just now, as an async iterable that comes back by itself after every cut, and the way to say that one writes. What is told
// is always the whole: a slow reader is given the newest alone, and nothing needs to be resumed.
import { TicketId } from "@holdfast/contracts/Ids"
import { Role } from "@holdfast/contracts/Principal"
import type { Audience } from "@holdfast/contracts/ticket/Status"
import { Result, Schema } from "effect"
import { backoffMs } from "./Backoff.ts"
import type { Desk } from "./Desk.ts"
import type { Ended } from "./Ended.ts"
import { Feeds as Limits } from "./Limits.ts"
import type { Line } from "./Line.ts"

export const Present = Schema.Struct({
  ticketId: TicketId,
  /** Who writes first; empty for a customer. */
  people: Schema.Array(
    Schema.Struct({
      id: Schema.String,
      name: Schema.NullOr(Schema.String),
      role: Role,
      state: Schema.Literals(["viewing", "writing"])
    })
  ),
  /** Two of the desk write at the same time: warn them. */
  collision: Schema.Boolean,
  /** To a customer: a public reply. */
  isStaffWriting: Schema.Boolean
})
export type Present = typeof Present.Type

export type PresenceItem =
  | { readonly type: "present"; readonly present: Present }
  /** Who was there is not known any more, until the next `present`. */
  | { readonly type: "away"; readonly detail: string }
  /** The last one, unless you stopped it: it cannot go on. */
  | { readonly type: "ended"; readonly code: string; readonly message: string }

export const presenceDocuments = {
  presence: `subscription($id: ID!) { presence(ticketId: $id) {
    ticketId people { id name role state } collision isStaffWriting } }`,
  typing: `mutation($id: ID!, $isTyping: Boolean!, $audience: Audience!) {
    typing(ticketId: $id, isTyping: $isTyping, audience: $audience) }`
} as const

const decodePresent = Schema.decodeUnknownResult(Schema.Struct({ presence: Present }))
const decodeTyping = Schema.decodeUnknownResult(Schema.Struct({ typing: Schema.Boolean }))

export const makePresence = (desk: Desk, line: Line) => ({
  /** While you read it you are there, for others to see. Leaving the loop, or the signal, stops it. */
  watch: (id: string, { signal }: { readonly signal?: AbortSignal } = {}): AsyncIterable<PresenceItem> => ({
    [Symbol.asyncIterator]: () => watch(desk, line, id, signal)
  }),
  /** Say it every few seconds while it goes on. False: it was not told, which is no harm. */
  typing: (id: string, isTyping: boolean, audience: Audience = "public"): Promise<boolean> =>
    say(line, { id, isTyping, audience })
})

async function* watch(
  desk: Desk,
  line: Line,
  id: string,
  signal: AbortSignal | undefined
): AsyncGenerator<PresenceItem, void> {
  const stopped = new AbortController()
  const stop = () => stopped.abort()
  signal?.addEventListener("abort", stop)
  if (signal?.aborted === true) stop()
  let failures = 0
  try {
    while (!stopped.signal.aborted) {
      const once = new Once(line, id, stopped.signal)
      for (let present = await once.take(); present !== null; present = await once.take()) {
        failures = 0
        yield { type: "present", present }
      }
      const why = once.ended
      if (why === null) return
      if (why.type === "fatal" && why.code !== "READ_UNAVAILABLE") {
        return yield { type: "ended", code: why.code, message: why.message }
      }
      if (why.type === "tokenRefused" && failures >= Limits.tokensRefusedMax) {
        return yield { type: "ended", code: "Unauthenticated", message: why.detail }
      }
      yield { type: "away", detail: "detail" in why ? why.detail : "the desk asks to come again" }
      const { backoffMaxMs: maxMs, backoffMinMs: minMs } = Limits
      const pauseMs = backoffMs({ minMs, maxMs }, failures++, desk.timing.random)
      await desk.timing.sleep((why.type === "cut" ? why.adviceMs : 0) + pauseMs, stopped.signal)
    }
  } finally {
    signal?.removeEventListener("abort", stop)
    stop()
  }
}

/** One subscription, until it ends. */
class Once {
  /** Null: it was let go. */
  ended: Ended | null = null
  #isOver = false
  #newest: Present | null = null
  #added = Promise.withResolvers<void>()
  readonly #unsubscribe: () => void

  constructor(line: Line, id: string, stopped: AbortSignal) {
    const letGo = () => {
      this.#unsubscribe()
      this.#end(null)
    }
    this.#unsubscribe = line.subscribe({
      query: presenceDocuments.presence,
      variables: { id },
      hasNoPositions: true,
      next: (_position, data) => this.#next(data),
      feed: () => undefined,
      ended: (why) => {
        stopped.removeEventListener("abort", letGo)
        this.#end(why)
      }
    })
    stopped.addEventListener("abort", letGo)
    if (stopped.aborted) letGo()
  }

  async take(): Promise<Present | null> {
    while (this.#newest === null && !this.#isOver) await this.#added.promise
    const present = this.#newest
    this.#newest = null
    this.#added = Promise.withResolvers()
    return present
  }

  #next(data: unknown): void {
    const present = decodePresent(data)
    if (Result.isSuccess(present)) {
      this.#newest = present.success.presence
      this.#added.resolve()
      return
    }
    this.#unsubscribe()
    this.#end({ type: "fatal", code: "NOT_UNDERSTOOD", message: present.failure.message })
  }

  #end(why: Ended | null): void {
    if (this.#isOver) return
    this.#isOver = true
    this.ended = why
    this.#added.resolve()
  }
}

const say = (line: Line, variables: Record<string, unknown>): Promise<boolean> =>
  new Promise((resolve) => {
    line.subscribe({
      query: presenceDocuments.typing,
      variables,
      hasNoPositions: true,
      next: (_position, data) => {
        const told = decodeTyping(data)
        resolve(Result.isSuccess(told) && told.success.typing)
      },
      feed: () => undefined,
      ended: () => resolve(false)
    })
  })
