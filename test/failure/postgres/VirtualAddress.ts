// The address under which the desk knows "the primary", as a virtual address or a TCP balancer gives it: it can be pointed at another
// server, for new connections alone, and it can be a black hole: connections that it has hear nothing any more, and new ones get no
// answer to their SYN. It is a process of its own, so that stopping it stops everything but the kernel.
import { fork } from "node:child_process"
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { join } from "node:path"

export interface VirtualAddress {
  readonly port: number
  readonly pointTo: (port: number) => Promise<void>
  readonly blackHole: () => void
  readonly passAgain: () => void
  readonly stop: () => Promise<void>
}

export const virtualAddress = async (target: number): Promise<VirtualAddress> => {
  const child = fork(join(import.meta.dirname, "VirtualAddress.fixture.ts"), [String(target)], { execArgv: [] })
  const [address]: [AddressInfo] = (await once(child, "message")) as [AddressInfo]
  return {
    port: address.port,
    pointTo: async (port) => {
      child.send(port)
      await once(child, "message")
    },
    blackHole: () => void child.kill("SIGSTOP"),
    passAgain: () => void child.kill("SIGCONT"),
    stop: async () => {
      child.kill("SIGKILL")
      await once(child, "exit")
    }
  }
}
