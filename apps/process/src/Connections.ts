// The connections of an HTTP server, counted and bounded together whichever of its listeners took them. Node accepts one connection of a
// listener in a turn of its event loop: where turns are long because there is much to do, those who come back after an interruption wait
// for seconds in the socket's queue, give up and come again, and so it stays. A process therefore listens on its socket several times over,
// where it was given several descriptors of it. Decision 0019.
import type { Server } from "node:http"
import { createServer as createListener, Server as NetServer, type Socket } from "node:net"
import { Effect, type Scope } from "effect"

export interface Connections {
  readonly count: () => number
  /** Until the server stops accepting: one more descriptor of the socket that it listens on. */
  readonly listenAlso: (fd: number) => void
  /** To the end, also after the server stops accepting: the address of this copy alone. */
  readonly listenApart: (fd: number) => Effect.Effect<void, never, Scope.Scope>
  readonly stopAccepting: () => void
}

/** Before the server listens. A connection beyond `max` is ended at once. */
export const watchConnections = (server: Server, max: number): Connections => {
  let open = 0
  const beside: Array<NetServer> = []
  server.prependListener("connection", (socket: Socket) => {
    open++
    socket.once("close", () => open--)
    if (open > max) socket.destroy()
  })
  const listener = (fd: number) => createListener((socket) => server.emit("connection", socket)).listen({ fd })
  return {
    count: () => open,
    listenAlso: (fd) => beside.push(listener(fd)),
    listenApart: (fd) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => listener(fd)),
          (one) => Effect.sync(() => one.close())
        )
      ),
    stopAccepting: () => {
      for (const one of beside) one.close()
      // `server.close` of HTTP would end the idle connections as well.
      NetServer.prototype.close.call(server)
    }
  }
}
