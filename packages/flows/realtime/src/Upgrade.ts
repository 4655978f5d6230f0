// What is checked before a socket exists: the path, the origin of a browser, and whether there is room. A refusal is plain HTTP.
import { type IncomingMessage, STATUS_CODES } from "node:http"
import type { Duplex } from "node:stream"

export const path = "/graphql"

export type UpgradeRefusal = 403 | 404 | 503

/** Null: it may. */
export const mayUpgrade = (
  { headers, url }: Pick<IncomingMessage, "headers" | "url">,
  allowedOrigins: ReadonlyArray<string>,
  isFull: boolean
): UpgradeRefusal | null => {
  if ((url ?? "").split("?", 1)[0] !== path) return 404
  if (!isOriginAllowed(headers.origin, headers.host, allowedOrigins)) return 403
  return isFull ? 503 : null
}

/** Only browsers send an origin, and only they can be made to connect by somebody else's page. */
const isOriginAllowed = (
  origin: string | undefined,
  host: string | undefined,
  allowedOrigins: ReadonlyArray<string>
): boolean => origin === undefined || allowedOrigins.includes(origin) || isSameHost(origin, host)

const isSameHost = (origin: string, host: string | undefined): boolean =>
  URL.canParse(origin) && host !== undefined && new URL(origin).host === host

export const refuseUpgrade = (socket: Duplex, status: UpgradeRefusal): void => {
  socket.on("error", () => socket.destroy())
  const retry = status === 503 ? "Retry-After: 1\r\n" : ""
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${retry}Connection: close\r\nContent-Length: 0\r\n\r\n`)
}
