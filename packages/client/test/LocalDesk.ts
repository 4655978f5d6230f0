// What a desk is to the client's commands: it knows each commandId, does a command once, and answers. What goes wrong on the way is decided by
// the test, per request. Time passes as fast as the test's own steps.
import { CommandId } from "@holdfast/contracts/Ids"
import type { Refused } from "@holdfast/contracts/wire/Problem"
import { toProblem } from "@holdfast/contracts/wire/Problem"
import { type Client, createClient } from "../src/Client.ts"
import type { Timing } from "../src/Timing.ts"

export type Way =
  | "pass"
  /** Done, and the answer is lost. */
  | "loseAnswer"
  /** Never arrives, and the client cannot know. */
  | "loseRequest"
  /** Nobody listens: the client knows that nothing was sent. */
  | "refuse"
  /** Answered by somebody else. */
  | "stranger"
  | Refused

export interface Received {
  readonly commandId: string
  readonly path: string
  readonly headers: Headers
  readonly body: unknown
}

export interface LocalDesk {
  readonly client: Client
  /** Every request that arrived. */
  readonly received: Array<Received>
  /** Each command once, in the order of doing. */
  readonly done: Array<Received>
  readonly tokens: Array<{ readonly refused: boolean }>
  readonly waits: Array<number>
}

const answerOf = (commandId: string, replayed: boolean) => ({
  commandId,
  streamId: commandId,
  version: 1,
  number: 7,
  replayed
})

const json = (status: number, body: unknown, contentType = "application/json") =>
  new Response(JSON.stringify(body), { status, headers: { "content-type": contentType } })

/** As Node's fetch says it. */
const failure = (code: string) => new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code }) })

/** A clock that jumps to whoever sleeps shortest, once nothing else is ready. */
export const quickTiming = (waits: Array<number> = [], random = () => 0.5): Timing => {
  let nowMs = 0
  const sleepers: Array<{ readonly atMs: number; readonly wake: () => void }> = []
  const advance = () => {
    sleepers.sort((one, other) => one.atMs - other.atMs)
    const next = sleepers.shift()
    nowMs = Math.max(nowMs, next?.atMs ?? 0)
    next?.wake()
  }
  return {
    nowMs: () => nowMs,
    sleep: (ms, signal) => {
      if (signal?.aborted === true) return Promise.resolve()
      waits.push(ms)
      const awake = Promise.withResolvers<void>()
      sleepers.push({ atMs: nowMs + ms, wake: awake.resolve })
      signal?.addEventListener("abort", () => awake.resolve())
      // Twice, so that a request that takes one turn of the loop is answered before time passes.
      setImmediate(() => setImmediate(() => setImmediate(advance)))
      return awake.promise
    },
    random
  }
}

/** `doneBefore`: the desk remembers what another client sent. */
export const localDesk = (
  way: (request: Received, count: number) => Way,
  doneBefore: Array<Received> = [],
  timing?: Timing
): LocalDesk => {
  const received: Array<Received> = []
  const done = doneBefore
  const tokens: Array<{ readonly refused: boolean }> = []
  const waits: Array<number> = []
  const perform = (request: Received) => {
    const replayed = done.some(({ commandId }) => commandId === request.commandId)
    if (!replayed) done.push(request)
    return json(200, answerOf(request.commandId, replayed))
  }
  const fetchOnce = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const headers = new Headers(init.headers)
    const commandId = CommandId.make(headers.get("idempotency-key") ?? "")
    const path = new URL(String(input)).pathname
    const request = { commandId, path, headers, body: JSON.parse(String(init.body)) }
    const how = way(request, received.length)
    await new Promise((resolve) => setImmediate(resolve))
    if (how === "refuse") throw failure("ECONNREFUSED")
    if (how === "loseRequest") throw failure("ECONNRESET")
    received.push(request)
    if (how === "stranger") return new Response("<html>Please log in</html>", { status: 200 })
    if (how === "pass") return perform(request)
    if (how === "loseAnswer") {
      perform(request)
      throw failure("ECONNRESET")
    }
    const problem = toProblem(how)
    return json(problem.status, problem, "application/problem+json")
  }
  const client = createClient({
    urls: "http://desk.test",
    token: (why) => {
      tokens.push(why)
      return `token-${tokens.length}`
    },
    fetch: fetchOnce,
    timing: timing ?? quickTiming(waits)
  })
  return { client, received, done, tokens, waits }
}
