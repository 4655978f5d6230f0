// What is checked before a socket exists: the path, the origin of a browser, and whether there is room. A refusal is plain HTTP.
import { IncomingMessage, type Server, STATUS_CODES } from "node:http"
import { Duplex } from "node:stream"

export const path = "/graphql"

/**
 * Gives every upgrade of this server to one handler. The HTTP framework listens for upgrades too and would answer 404 on the same
 * socket, so the event is taken before its listeners.
 */
export const takeUpgrades = (
  server: Server,
  handle: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
): void => {
  // Node hands over an upgrade only while somebody listens.
  server.on("upgrade", () => undefined)
  const emit = server.emit.bind(server)
  server.emit = (event: string | symbol, ...args: ReadonlyArray<unknown>): boolean => {
    const [request, socket, head] = args
    const isUpgrade = event === "upgrade" && request instanceof IncomingMessage && socket instanceof Duplex
    if (!isUpgrade) return Reflect.apply(emit, server, [event, ...args])
    handle(request, socket, Buffer.isBuffer(head) ? head : Buffer.alloc(0))
    return true
  }
}

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

/**
 * Only browsers send an origin, and only they can be made to connect by somebody else's page. A page from any port of this host is the
 * desk's own: query-api serves the status page beside this gateway. Nothing is given without a token all the same.
 */
export const isOriginAllowed = (
  origin: string | undefined,
  host: string | undefined,
  allowedOrigins: ReadonlyArray<string>
): boolean => origin === undefined || allowedOrigins.includes(origin) || isSameHost(origin, host)

const isSameHost = (origin: string, host: string | undefined): boolean =>
  URL.canParse(origin) &&
  URL.canParse(`http://${host}`) &&
  new URL(origin).hostname === new URL(`http://${host}`).hostname

export const refuseUpgrade = (socket: Duplex, status: UpgradeRefusal): void => {
  socket.on("error", () => socket.destroy())
  const retry = status === 503 ? "Retry-After: 1\r\n" : ""
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${retry}Connection: close\r\nContent-Length: 0\r\n\r\n`)
}
