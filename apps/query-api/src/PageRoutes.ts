// The status page and what it reads besides queries. The files are read once; the policy allows scripts and styles from here and a socket to
// the gateway, and nothing else. What the processes say is for staff.
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { isStaff } from "@holdfast/contracts/Principal"
import { Identity } from "@holdfast/identity/Identity"
import { Effect, Layer, Redacted } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { StatusBoard } from "./StatusBoard.ts"

export interface PageOptions {
  readonly realtimePort: number
}

const files = {
  "/": { file: "index.html", contentType: "text/html; charset=utf-8" },
  "/page.js": { file: "page.js", contentType: "text/javascript; charset=utf-8" },
  "/feed.js": { file: "feed.js", contentType: "text/javascript; charset=utf-8" },
  "/page.css": { file: "page.css", contentType: "text/css; charset=utf-8" }
} as const

export const layer = (options: PageOptions) => {
  const pages = Object.entries(files).map(([path, { contentType, file }]) => {
    const text = readFileSync(join(import.meta.dirname, "page", file), "utf8")
    return HttpRouter.add(
      "GET",
      path === "/" ? "/" : `/${file}`,
      Effect.map(realtimeUrl(options), (url) =>
        HttpServerResponse.text(text, {
          contentType,
          headers: { "cache-control": "no-cache", "content-security-policy": policy(url) }
        })
      )
    )
  })
  return Layer.mergeAll(
    HttpRouter.add("GET", "/page.json", pageJson(options)),
    HttpRouter.add("GET", "/status.json", statusJson),
    ...pages
  )
}

const policy = (realtime: string) =>
  [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    `connect-src 'self' ${realtime}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'"
  ].join("; ")

/** The gateway at the address by which the browser reached this process. */
const realtimeUrl = ({ realtimePort }: PageOptions) =>
  Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }) => {
    const asked = `http://${headers.host ?? "127.0.0.1"}`
    const host = URL.canParse(asked) ? new URL(asked).hostname : "127.0.0.1"
    const scheme = headers["x-forwarded-proto"] === "https" ? "wss" : "ws"
    return `${scheme}://${host}:${realtimePort}/graphql`
  })

const noStore = { "cache-control": "no-store" }

const pageJson = (options: PageOptions) =>
  Effect.map(realtimeUrl(options), (url) => HttpServerResponse.jsonUnsafe({ realtimeUrl: url }, { headers: noStore }))

const statusJson = Effect.gen(function* () {
  const { headers } = yield* HttpServerRequest.HttpServerRequest
  const identity = yield* Identity
  const [, token = ""] = /^bearer +(\S+)$/i.exec(headers.authorization ?? "") ?? []
  const { principal } = yield* identity.verify(Redacted.make(token))
  if (!isStaff(principal)) return HttpServerResponse.empty({ status: 403 })
  const board = yield* StatusBoard
  return HttpServerResponse.jsonUnsafe({ processes: board.processes() }, { headers: noStore })
}).pipe(
  Effect.catchTags({
    Unauthenticated: () =>
      Effect.succeed(HttpServerResponse.empty({ status: 401, headers: { "www-authenticate": "Bearer" } })),
    Unavailable: () => Effect.succeed(HttpServerResponse.empty({ status: 503 }))
  })
)
