// The desk's listening sockets, opened once by the supervisor and inherited by every copy of a process. The kernel keeps accepting into a
// socket's queue for as long as anybody holds it, so that a copy's death, restart or replacement refuses no connection: another copy takes
// it, or the next one. The supervisor itself never listens: the first copy does that.
import { lookup } from "node:dns/promises"
import { BoundSocket } from "node:net"
import type { SocketName } from "@holdfast/process/Sockets"
import { Effect } from "effect"
import { grpc, type Listener, type Member, portOf } from "../Fleet.ts"
import { refuse } from "../Refusal.ts"
import type { Settings } from "../Settings.ts"
import { portSentence } from "./Ports.ts"

export interface Inherited {
  readonly name: SocketName
  readonly fd: number
}

/** Held until the scope closes. */
export const openSockets = Effect.fnUntraced(function* (settings: Settings, { http, others }: Member) {
  const host = yield* addressOf(settings.host)
  return yield* Effect.forEach([http, ...others], (listener) => openSocket(settings, host, listener))
})

const addressOf = (host: string) =>
  Effect.tryPromise({
    try: async () => (await lookup(host)).address,
    catch: () => refuse(`${host} is not an address of this machine: set HOLDFAST_HOST to one that is.`)
  })

const openSocket = (settings: Settings, host: string, listener: Listener) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.try({
        try: () => bind(host, portOf(settings, listener)),
        catch: (cause) =>
          refuse(portSentence(host, { ...listener, port: portOf(settings, listener) }, codeOf(cause), null))
      }),
      (socket) => Effect.sync(() => socket.close())
    ),
    (socket): Inherited => ({ name: listener === grpc ? "grpc" : "http", fd: socket.fd() })
  )

/** Asking for the address tells what the binding may have kept to itself. */
const bind = (host: string, port: number): BoundSocket => {
  const socket = new BoundSocket({ host, port })
  socket.address()
  return socket
}

const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause ? String(cause.code) : String(cause)

/** For one life of one copy, where it alone is asked how it is. Ours is closed once the copy has its own. */
export const openPrivateSocket = () => {
  const socket = new BoundSocket({ host: "127.0.0.1", port: 0 })
  const { port } = socket.address()
  return { fd: socket.fd(), url: `http://127.0.0.1:${port}`, close: () => socket.close() }
}
