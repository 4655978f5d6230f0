// Refusals over HTTP as problem details (RFC 9457), in the shape that the desk's commands use.
import { Data } from "effect"

export interface Problem {
  readonly status: number
  readonly tag: string
  readonly title: string
  readonly fields?: Readonly<Record<string, unknown>>
  readonly headers?: Readonly<Record<string, string>>
}

export const problemType = "application/problem+json"

export const problemBody = ({ fields, status, tag, title }: Problem): string =>
  JSON.stringify({ type: `urn:holdfast:problem:${tag}`, title, status, ...fields })

/** Seconds; for whoever may come again. */
const retryAfterByStatus: ReadonlyMap<number, string> = new Map([
  [429, "5"],
  [503, "5"],
  [507, "60"]
])

export const problemHeaders = (status: number): Readonly<Record<string, string>> => {
  const retryAfter = retryAfterByStatus.get(status)
  return {
    "content-type": problemType,
    "cache-control": "no-store",
    ...(status === 401 ? { "www-authenticate": "Bearer" } : {}),
    ...(retryAfter === undefined ? {} : { "retry-after": retryAfter })
  }
}

/** Thrown where an upload is refused, and answered as it is. */
export class TusRefusal extends Data.TaggedError("TusRefusal")<{
  readonly problem: Problem
  /** For the log alone. */
  readonly cause?: unknown
  /** Of the request that is refused, for the metrics. */
  readonly announcedBytes?: number
}> {}

export const tusRefusal = (problem: Problem): TusRefusal => new TusRefusal({ problem })
