// The way to the desk: where its services are, who asks, and one HTTP attempt that ends in time whatever the line does. An answer that
// cannot be read is no answer; what a lost one means is for the caller to judge, so it is told whether the desk may have got the request.
import { RetryBudget } from "./Backoff.ts"
import { Requests } from "./Limits.ts"
import { realTiming, type Timing } from "./Timing.ts"

/** One address, or several of the same service that are used in turn. */
export type Addresses = string | ReadonlyArray<string>

export interface DeskUrls {
  readonly commands: Addresses
  readonly queries: Addresses
  readonly realtime: Addresses
  /** One: an upload is resumed where it began. */
  readonly files: string
}

/** `refused`: the desk did not take the last one, so a kept token is of no use. */
export type GetToken = (why: { readonly refused: boolean }) => string | Promise<string>

export interface ClientOptions {
  /** One address when a proxy leads to everything. */
  readonly urls: string | DeskUrls
  readonly token: GetToken
  readonly fetch?: typeof globalThis.fetch
  readonly timing?: Timing
}

export interface Reply {
  readonly kind: "reply"
  readonly status: number
  /** Undefined when it is not JSON. */
  readonly body: unknown
  readonly retryAfterMs: number
}

export interface NoReply {
  readonly kind: "none"
  /** False: the request has certainly not reached the desk. */
  readonly mayHaveArrived: boolean
  readonly detail: string
}

export interface Question {
  readonly service: "commands" | "queries"
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
  readonly tokenRefused: boolean
  readonly deadlineMs: number
  readonly signal?: AbortSignal | undefined
}

export interface Desk {
  readonly urls: DeskUrls
  readonly timing: Timing
  readonly budget: RetryBudget
  readonly getToken: GetToken
  readonly fetch: typeof globalThis.fetch
  /** One attempt. Never rejects. */
  readonly ask: (question: Question) => Promise<Reply | NoReply>
}

export const makeDesk = (options: ClientOptions): Desk => {
  const { urls } = options
  const timing = options.timing ?? realTiming
  const request = options.fetch ?? globalThis.fetch.bind(globalThis)
  const desk: Desk = {
    urls: typeof urls === "string" ? { commands: urls, queries: urls, realtime: urls, files: urls } : urls,
    timing,
    budget: new RetryBudget(timing),
    getToken: options.token,
    fetch: request,
    ask: async (question) => {
      const limit = limited(question.deadlineMs, question.signal)
      try {
        return await Promise.race([attempt(desk, request, question, limit.signal), limit.over])
      } finally {
        limit.end()
      }
    }
  }
  return desk
}

/** The caller's signal and a deadline in one. A race, because not everything that is waited for listens to a signal. */
const limited = (deadlineMs: number, signal: AbortSignal | undefined) => {
  const controller = new AbortController()
  const over = Promise.withResolvers<NoReply>()
  const stop = (detail: string) => {
    controller.abort()
    over.resolve({ kind: "none", mayHaveArrived: true, detail })
  }
  const abort = () => stop("cancelled")
  const timer = setTimeout(() => stop(`no answer within ${deadlineMs} ms`), deadlineMs)
  if (signal?.aborted === true) abort()
  signal?.addEventListener("abort", abort)
  const end = () => {
    clearTimeout(timer)
    signal?.removeEventListener("abort", abort)
  }
  return { signal: controller.signal, over: over.promise, end }
}

const nextAddress = new WeakMap<ReadonlyArray<string>, number>()

/** The first, until `another` is asked for. */
export const addressOf = (addresses: Addresses): string => {
  if (typeof addresses === "string") return addresses
  return addresses[(nextAddress.get(addresses) ?? 0) % addresses.length] ?? ""
}

/** The one that was used failed: the next one is used from here on. */
export const another = (addresses: Addresses): void => {
  if (typeof addresses !== "string") nextAddress.set(addresses, (nextAddress.get(addresses) ?? 0) + 1)
}

export const join = (address: string, path: string): string => `${address.replace(/\/+$/, "")}${path}`

const attempt = async (
  desk: Desk,
  request: typeof globalThis.fetch,
  question: Question,
  signal: AbortSignal
): Promise<Reply | NoReply> => {
  const token = await tokenFrom(desk.getToken, question.tokenRefused)
  if (typeof token !== "string") return token
  if (signal.aborted) return { kind: "none", mayHaveArrived: false, detail: "cancelled" }
  const addresses = desk.urls[question.service]
  try {
    const response = await request(join(addressOf(addresses), question.path), {
      method: "POST",
      headers: { ...question.headers, authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(question.body),
      // Nothing of the desk's redirects; whoever does (the login page of a hotel's network) shall not have the token.
      redirect: "error",
      signal
    })
    if (response.status >= 500) another(addresses)
    return await readReply(response)
  } catch (error) {
    another(addresses)
    return { kind: "none", mayHaveArrived: !neverLeft(error), detail: detailOf(error) }
  }
}

const tokenFrom = async (getToken: GetToken, refused: boolean): Promise<string | NoReply> => {
  try {
    return await getToken({ refused })
  } catch (error) {
    return { kind: "none", mayHaveArrived: false, detail: `there is no token: ${detailOf(error)}` }
  }
}

const readReply = async (response: Response): Promise<Reply> => {
  const text = await response.text()
  const body = text.length <= Requests.answerLengthMax ? fromJson(text) : undefined
  return { kind: "reply", status: response.status, body, retryAfterMs: retryAfterMs(response.headers) }
}

const fromJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export const retryAfterMs = (headers: Headers): number => {
  const seconds = Number(headers.get("retry-after") ?? 0)
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds * 1000, Requests.retryAfterMsMax) : 0
}

// Errors that Node has before the first byte of a request leaves. Browsers do not tell, so there everything may have arrived.
const beforeSending = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENETUNREACH",
  "EHOSTUNREACH",
  "UND_ERR_CONNECT_TIMEOUT"
])

const neverLeft = (error: unknown): boolean => {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof Error && "code" in cause && beforeSending.has(String(cause.code))
}

export const detailOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  const { cause } = error
  return cause instanceof Error ? `${error.message}: ${cause.message}` : error.message
}
