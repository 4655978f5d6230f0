// Ports that are taken are found before anything starts, and each is one sentence: which port, for what, taken by whom, and which
// variable moves it.
import { once } from "node:events"
import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import { createServer } from "node:net"
import { Effect } from "effect"
import { refuse } from "../Refusal.ts"

export interface Wanted {
  readonly port: number
  readonly variable: string
  /** What a person finds there. */
  readonly serves: string
}

export const postgresPort = (port: number): Wanted => ({
  variable: "HOLDFAST_POSTGRES_PORT",
  serves: "PostgreSQL",
  port
})

/** Fails with one sentence per port that cannot be had. */
export const checkPorts = (host: string, wanted: ReadonlyArray<Wanted>) =>
  Effect.gen(function* () {
    const tried = yield* Effect.forEach(wanted, (one) => Effect.promise(() => tryPort(host, one)))
    const sentences = [...twice(wanted), ...tried.filter((sentence) => sentence !== null)]
    if (sentences.length > 0) return yield* refuse(sentences.join("\n"))
  })

export const twice = (wanted: ReadonlyArray<Wanted>): ReadonlyArray<string> =>
  wanted.flatMap((one, index) => {
    const other = wanted.findIndex(({ port }) => port === one.port)
    if (other === index) return []
    return [`${wanted[other]?.variable} and ${one.variable} both say ${one.port}: give each its own port.`]
  })

const tryPort = async (host: string, wanted: Wanted): Promise<string | null> => {
  const server = createServer()
  try {
    server.listen({ host, port: wanted.port, exclusive: true })
    await once(server, "listening")
    await new Promise((resolve) => server.close(resolve))
    return null
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause)
    return portSentence(host, wanted, code, code === "EADDRINUSE" ? ownerOf(wanted.port) : null)
  }
}

export const portSentence = (host: string, wanted: Wanted, code: string, owner: string | null): string => {
  const subject = `Port ${wanted.port} (${wanted.serves})`
  const remedy = `set ${wanted.variable} to a free port.`
  if (code === "EADDRINUSE") return `${subject} is taken by ${owner ?? "another program"}: stop that, or ${remedy}`
  if (code === "EACCES") return `${subject} may not be used by this account: ${remedy}`
  if (code === "EADDRNOTAVAIL") return `${host} is not an address of this machine: set HOLDFAST_HOST to one that is.`
  return `${subject} cannot be used (${code}): ${remedy}`
}

/** Who listens there, as far as this account may see it; Linux only. */
const ownerOf = (port: number): string | null => {
  try {
    const tables = ["/proc/net/tcp", "/proc/net/tcp6"].map((file) => readFileSync(file, "utf8")).join("\n")
    const inodes = listeningInodes(tables, port)
    const pid = readdirSync("/proc").find((name) => /^\d+$/.test(name) && holdsSocket(name, inodes))
    if (pid === undefined) return null
    return `${readFileSync(`/proc/${pid}/comm`, "utf8").trim()} (process ${pid})`
  } catch {
    return null
  }
}

/** Lines of `/proc/net/tcp`: the local address ends in the port in hexadecimal, state 0A is listening, the tenth field is the inode. */
export const listeningInodes = (table: string, port: number): ReadonlySet<string> => {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`
  const fields = table.split("\n").map((line) => line.trim().split(/\s+/))
  return new Set(fields.flatMap((field) => (field[1]?.endsWith(suffix) && field[3] === "0A" ? [field[9] ?? ""] : [])))
}

const holdsSocket = (pid: string, inodes: ReadonlySet<string>): boolean => {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1]
      return inode !== undefined && inodes.has(inode)
    })
  } catch {
    return false
  }
}

/**
 * A free port for the embedded PostgreSQL, outside the range from which the system takes the near ends of outgoing connections: while
 * PostgreSQL is down, a client that tries again and again could otherwise be given that very port, connect to itself, and keep
 * PostgreSQL from coming back.
 */
export const pickPrivatePort = (host: string): Effect.Effect<number> =>
  Effect.promise(async () => {
    const [first, count] = [20_000, 10_000]
    for (let attempt = 0; attempt < 50; attempt++) {
      const port = first + Math.floor(Math.random() * count)
      if ((await tryPort(host, postgresPort(port))) === null) return port
    }
    throw new Error(`no free port between ${first} and ${first + count}`)
  })
