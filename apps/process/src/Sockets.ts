// Listening sockets that were opened for this process by whoever started it, so that its death or restart refuses nobody: who comes in
// between waits in the socket's queue, and another copy or the next one takes them. `holdfast up` hands them over by its own variable,
// systemd by its socket activation. A process that was given none listens by address. One socket may come as several descriptors:
// Node accepts one connection of each in a turn of its event loop.
import type { ListenOptions } from "node:net"

/** `http` is the process's own address, `grpc` the one beside it, `health` one of this copy alone. */
export const socketNames = ["http", "grpc", "health"] as const
export type SocketName = (typeof socketNames)[number]

/** `http:4,http:5,grpc:6` */
export const socketsVariable = "HOLDFAST_SOCKETS"

type Environment = Readonly<Record<string, string | undefined>>

export interface InheritedSocket {
  readonly name: string
  readonly fd: number
}

export const socketsIn = (env: Environment, pid: number): ReadonlyArray<InheritedSocket> =>
  env[socketsVariable] === undefined ? fromSystemd(env, pid) : fromPairs(env[socketsVariable])

const fromPairs = (text: string): ReadonlyArray<InheritedSocket> =>
  text.split(",").flatMap((pair) => {
    const [, name, fd] = /^([a-z]+):(\d+)$/.exec(pair) ?? []
    return name === undefined ? [] : [{ name, fd: Number(fd) }]
  })

const firstSystemdFd = 3

/** See sd_listen_fds(3): they are meant for the process of that number alone. */
const fromSystemd = (env: Environment, pid: number): ReadonlyArray<InheritedSocket> => {
  if (Number(env.LISTEN_PID) !== pid) return []
  const names = (env.LISTEN_FDNAMES ?? "").split(":")
  return names.slice(0, Number(env.LISTEN_FDS)).map((name, index) => ({ name, fd: firstSystemdFd + index }))
}

/** Descriptors of one socket, or none. */
export const inheritedSocket = (name: SocketName): ReadonlyArray<number> =>
  socketsIn(process.env, process.pid).flatMap((one) => (one.name === name ? [one.fd] : []))

interface Place extends ListenOptions {
  readonly fd?: number
}

/** Where to listen: on what was inherited, else at the address. */
export const placeOf = (name: SocketName, address: { readonly host: string; readonly port: number }): Place => {
  const [fd] = inheritedSocket(name)
  return fd === undefined ? address : { fd }
}
