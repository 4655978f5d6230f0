// The live page and what it reads besides queries. The files are read once; the policy allows scripts, styles and the icon from here, calls
// to the desk's own doors, and nothing else. What the processes say is for staff.
import { readdirSync, readFileSync } from "node:fs"
import { extname, join } from "node:path"
import { isStaff } from "@holdfast/contracts/Principal"
import { Identity } from "@holdfast/identity/Identity"
import { Effect, Layer, Redacted } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { StatusBoard } from "./StatusBoard.ts"

export interface PageOptions {
  readonly commandPort: number
  readonly realtimePort: number
  readonly filePort: number
  /** Where clients from outside reach the file gateway. */
  readonly publicFileUrl: string
}

const contentTypes: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml"
}

const folder = join(import.meta.dirname, "page")

export const layer = (options: PageOptions) =>
  Layer.mergeAll(
    HttpRouter.add("GET", "/page.json", pageJson(options)),
    HttpRouter.add("GET", "/status.json", statusJson),
    ...readdirSync(folder).flatMap((file) => {
      const contentType = contentTypes[extname(file)]
      return contentType === undefined ? [] : [fileRoute(options, file, contentType)]
    })
  )

const fileRoute = (options: PageOptions, file: string, contentType: string) => {
  const text = readFileSync(join(folder, file), "utf8")
  return HttpRouter.add(
    "GET",
    file === "index.html" ? "/" : `/${file}`,
    Effect.map(doorsOf(options), (doors) =>
      HttpServerResponse.text(text, {
        contentType,
        headers: { "cache-control": "no-cache", "content-security-policy": policy(doors) }
      })
    )
  )
}

interface Doors {
  readonly commandUrl: string
  readonly realtimeUrl: string
  readonly fileUrl: string
}

const policy = ({ commandUrl, fileUrl, realtimeUrl }: Doors) =>
  [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src 'self' ${commandUrl} ${realtimeUrl} ${fileUrl}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    // Text from others can become markup in no way at all.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'"
  ].join("; ")

/** The desk's other doors, at the address by which the browser reached this process. */
const doorsOf = (options: PageOptions) =>
  Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }): Doors => {
    const { host, hostname } = askedHost(headers.host)
    if (headers["x-forwarded-proto"] === "https") {
      // A proxy in front gives commands, queries and sockets one address, and files their own.
      const fileUrl = options.publicFileUrl.replace(/\/+$/, "")
      return { commandUrl: `https://${host}`, realtimeUrl: `wss://${host}/graphql`, fileUrl }
    }
    return {
      commandUrl: `http://${hostname}:${options.commandPort}`,
      realtimeUrl: `ws://${hostname}:${options.realtimePort}/graphql`,
      fileUrl: `http://${hostname}:${options.filePort}`
    }
  })

/** As the client says, where that is a host and nothing more: it becomes part of the policy. */
const askedHost = (header: string | undefined): URL => {
  const asked = `http://${header}`
  const isPlain = header !== undefined && /^[\w.:[\]-]+$/.test(header) && URL.canParse(asked)
  return new URL(isPlain ? asked : "http://127.0.0.1")
}

const noStore = { "cache-control": "no-store" }

const pageJson = (options: PageOptions) =>
  Effect.map(doorsOf(options), (doors) => HttpServerResponse.jsonUnsafe(doors, { headers: noStore }))

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
