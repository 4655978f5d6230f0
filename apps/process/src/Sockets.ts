// Listening sockets that were opened for this process by whoever started it, so that its death or restart refuses nobody: who comes in
// between waits in the socket's queue, and another copy or the next one takes them. `holdfast up` hands them over by its own variable,
// systemd by its socket activation. A process that was given none listens by address.
import type { ListenOptions } from "node:net"

/** `http` is the process's own address, `grpc` the one beside it, `health` one of this copy alone. */
export const socketNames = ["http", "grpc", "health"] as const
export type SocketName = (typeof socketNames)[number]

/** `http:4,grpc:5` */
export const socketsVariable = "HOLDFAST_SOCKETS"

type Environment = Readonly<Record<string, string | undefined>>

/** The file descriptor of each. */
export const socketsIn = (env: Environment, pid: number): ReadonlyMap<string, number> =>
  env[socketsVariable] === undefined ? fromSystemd(env, pid) : fromPairs(env[socketsVariable])

const fromPairs = (text: string): ReadonlyMap<string, number> =>
  new Map(
    text.split(",").flatMap((pair) => {
      const [, name, fd] = /^([a-z]+):(\d+)$/.exec(pair) ?? []
      return name === undefined ? [] : [[name, Number(fd)]]
    })
  )

const firstSystemdFd = 3

/** See sd_listen_fds(3): they are meant for the process of that number alone. */
const fromSystemd = (env: Environment, pid: number): ReadonlyMap<string, number> => {
  if (Number(env.LISTEN_PID) !== pid) return new Map()
  const names = (env.LISTEN_FDNAMES ?? "").split(":")
  return new Map(names.slice(0, Number(env.LISTEN_FDS)).map((name, index) => [name, firstSystemdFd + index]))
}

/** Undefined: there is none of this name. */
export const inheritedSocket = (name: SocketName): number | undefined => socketsIn(process.env, process.pid).get(name)

interface Place extends ListenOptions {
  readonly fd?: number
}

/** Where to listen: on what was inherited, else at the address. */
export const placeOf = (name: SocketName, address: { readonly host: string; readonly port: number }): Place => {
  const fd = inheritedSocket(name)
  return fd === undefined ? address : { fd }
}
