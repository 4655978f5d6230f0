// Leads TCP connections from one listening socket to another place, whole: half-closes pass, and where one side breaks the other
// ends. Two of them, one on each side of a namespace's border with a Unix socket between, let a desk on this machine's loopback be reached
// from the far end.
import { createServer, type ListenOptions, type NetConnectOpts, type Server, Socket } from "node:net"

export interface Door {
  /** 0 for a Unix socket. */
  readonly port: number
  close(): Promise<void>
}

export const openDoor = async (listen: ListenOptions, target: NetConnectOpts): Promise<Door> => {
  const open = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => lead(near, target, open))
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(listen, resolve)
  })
  return { port: portOf(server), close: () => close(server, open) }
}

const lead = (near: Socket, target: NetConnectOpts, open: Set<Socket>): void => {
  const far = new Socket({ allowHalfOpen: true })
  far.connect(target)
  for (const [one, other] of [
    [near, far],
    [far, near]
  ] as const) {
    open.add(one)
    one.pipe(other)
    one.on("error", () => other.destroy())
    one.on("close", () => open.delete(one))
  }
}

const portOf = (server: Server): number => {
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : 0
}

const close = (server: Server, open: ReadonlySet<Socket>): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve())
    for (const socket of open) socket.destroy()
  })
