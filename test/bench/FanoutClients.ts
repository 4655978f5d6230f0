// The parent's side of fanout.clients.ts: starts the clients' process, and times what a server sends to them.
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { Subject } from "./FanoutSubjects.ts"
import type { FromClients, ToClients } from "./fanout.clients.ts"

export interface Clients {
  /** Sends so many events, one turn of the loop after the other. Milliseconds from before the first to the last receipt of all. */
  readonly timed: (events: number) => Promise<{ readonly ms: number; readonly p50Ms: number; readonly p99Ms: number }>
  readonly end: () => Promise<void>
}

export const startClients = async (
  { order, send }: Subject,
  sockets: number,
  options: { readonly deflate?: boolean } = {}
): Promise<Clients> => {
  const child = fork(join(import.meta.dirname, "fanout.clients.ts"))
  await tell(child, { order: { ...order, ...options, sockets } })
  return {
    timed: async (events) => {
      await tell(child, { expect: events })
      const done = heard(child)
      const startedAt = process.hrtime.bigint()
      for (let event = 0; event < events; event++) {
        send()
        await new Promise((resolve) => setImmediate(resolve))
      }
      const answer = await done
      if (!("receivedAt" in answer)) throw new Error("the clients answered out of turn")
      const since = (at: string) => Number(BigInt(at) - startedAt) / 1e6
      return { ms: since(answer.receivedAt), p50Ms: since(answer.p50At), p99Ms: since(answer.p99At) }
    },
    end: async () => {
      const exited = once(child, "exit")
      child.disconnect()
      await exited
    }
  }
}

const tell = (child: ChildProcess, message: ToClients): Promise<FromClients> => {
  const answer = heard(child)
  child.send(message)
  return answer
}

const heard = (child: ChildProcess): Promise<FromClients> =>
  new Promise((resolve, reject) => {
    const left = () => reject(new Error("the clients' process has ended"))
    child.once("exit", left)
    child.once("message", (answer: FromClients) => {
      child.off("exit", left)
      resolve(answer)
    })
  })

setFlagsFromString("--expose-gc")
const collect: unknown = runInNewContext("gc")

/** What JavaScript holds with its buffers, and what libraries hold for it, after a collection; what has ended just now is gone first. */
export const bytesHeld = async (): Promise<number> => {
  await delay(500)
  if (typeof collect === "function") collect()
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

/** A file each in this process and in that of the clients, and some besides. Null: there are enough; else what to tell. */
export const tooFewFiles = (sockets: number): string | null => {
  const line = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))
  const filesMax = line?.[1] === "unlimited" ? Number.POSITIVE_INFINITY : Number(line?.[1] ?? 0)
  const needed = sockets + 500
  return filesMax >= needed
    ? null
    : `${sockets} sockets are left out: a process may open ${filesMax} files and ${needed} are needed (ulimit -n ${needed}).`
}
