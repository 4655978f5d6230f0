// One HTTP attempt and what came of it, raw: nothing is tried twice and nothing is hidden. Every attempt ends within its deadline.
import { Agent, type IncomingMessage, request } from "node:http"
import type { Duration } from "effect"
import { Duration as Durations } from "effect"

export interface Attempt {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  readonly deadline: Duration.Duration
}

/**
 * refused: nobody listened, so nothing can have been done. lost: the connection ended under way. silent: no answer within the deadline.
 * Otherwise the answer, whatever its status.
 */
export type Raw =
  | {
      readonly _tag: "Answer"
      readonly status: number
      readonly headers: IncomingMessage["headers"]
      readonly body: Buffer
    }
  | { readonly _tag: "None"; readonly why: "refused" | "lost" | "silent" }

export interface Wire {
  send(attempt: Attempt): Promise<Raw>
  close(): void
}

export const makeWire = (): Wire => {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, maxFreeSockets: 256 })
  return { send: (attempt) => send(agent, attempt), close: () => agent.destroy() }
}

const send = (agent: Agent, { body, deadline, headers, method, url }: Attempt): Promise<Raw> =>
  new Promise((resolve) => {
    const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) }
    const sent = request(url, { method, agent, headers: { ...headers, ...length } }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("end", () =>
        settle({
          _tag: "Answer",
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks)
        })
      )
      response.on("error", () => settle({ _tag: "None", why: "lost" }))
      response.on("close", () => settle({ _tag: "None", why: "lost" }))
    })
    const timer = setTimeout(() => {
      settle({ _tag: "None", why: "silent" })
      sent.destroy()
    }, Durations.toMillis(deadline))
    const settle = (raw: Raw) => {
      clearTimeout(timer)
      resolve(raw)
    }
    sent.on("error", (cause) => settle({ _tag: "None", why: isRefused(cause) ? "refused" : "lost" }))
    sent.end(body)
  })

const isRefused = (cause: Error): boolean => "code" in cause && cause.code === "ECONNREFUSED"

/** `undefined`: it is not JSON. */
export const jsonOf = (body: Buffer): unknown => {
  try {
    return JSON.parse(body.toString("utf8"))
  } catch {
    return undefined
  }
}
