// A line to PostgreSQL that reads what goes over it and spoils the appends of chosen commands, each command once: the answer is lost after
// the server did the work, or torn in its middle, or the request never gets there. Everything else passes, so a breaker sees a server
// that is well but for that. It reads no more of the protocol than where a request ends.
import { connect, createServer, type Server, type Socket } from "node:net"

export const fates = ["answer lost", "answer torn", "never sent"] as const
export type Fate = (typeof fates)[number]

export interface LosingLine {
  readonly port: number
  /** The next append that carries this command is spoiled. */
  readonly spoil: (commandId: string, fate: Fate) => void
  /** What happened to the appends of the commands so far. */
  readonly fateOf: (commandId: string) => Fate | undefined
  /** Appends spoiled: some carried several commands. */
  readonly spoiled: () => number
  readonly stop: () => Promise<void>
}

interface Marks {
  readonly wanted: Map<string, Fate>
  readonly happened: Map<string, Fate>
  spoiled: number
}

export const losingLine = async (target: number): Promise<LosingLine> => {
  const marks: Marks = { wanted: new Map(), happened: new Map(), spoiled: 0 }
  const open = new Set<Socket>()
  const server: Server = createServer((client) => {
    open.add(client)
    client.on("close", () => open.delete(client))
    relay(client, connect(target, "127.0.0.1"), marks)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    spoil: (commandId, fate) => void marks.wanted.set(commandId, fate),
    fateOf: (commandId) => marks.happened.get(commandId),
    spoiled: () => marks.spoiled,
    stop: () =>
      new Promise((resolve) => {
        for (const socket of open) socket.destroy()
        server.close(() => resolve())
      })
  }
}

const readyForQuery = Buffer.from([0x5a, 0, 0, 0, 5])
const readyLength = readyForQuery.length + 1

const relay = (client: Socket, server: Socket, marks: Marks): void => {
  let isStarted = false
  let request: Buffer = Buffer.alloc(0)
  let fate: Fate | null = null
  const end = () => {
    client.resetAndDestroy()
    server.destroy()
  }
  for (const socket of [client, server]) {
    socket.setNoDelay(true)
    socket.on("error", end)
    socket.on("close", end)
  }
  client.on("data", (chunk: Buffer) => {
    if (!isStarted) return void server.write(chunk)
    request = Buffer.concat([request, chunk])
    if (!isWhole(request)) return
    fate = fateFor(request, marks)
    if (fate === "never sent") return end()
    server.write(request)
    request = Buffer.alloc(0)
  })
  server.on("data", (chunk: Buffer) => {
    const isAnswered = chunk.subarray(-readyLength, -1).equals(readyForQuery)
    if (isAnswered) isStarted = true
    if (fate === null) return void client.write(chunk)
    if (fate === "answer torn") client.write(chunk.subarray(0, chunk.length / 2))
    if (isAnswered) setImmediate(end)
  })
}

const sync = "S".charCodeAt(0)
const terminate = "X".charCodeAt(0)

/** Whether the last message is there to its end, and is one that the server answers. */
const isWhole = (request: Buffer): boolean => {
  let at = 0
  let last = 0
  while (at + 5 <= request.length) {
    last = request.readUInt8(at)
    at += 1 + request.readInt32BE(at + 1)
  }
  return at === request.length && (last === sync || last === terminate)
}

/** An append is the only request that holds a fingerprint; several commands that share one share its fate. */
const fateFor = (request: Buffer, marks: Marks): Fate | null => {
  const text = request.toString("latin1")
  if (!text.includes('"fingerprint"')) return null
  const found = [...marks.wanted].filter(([commandId]) => text.includes(commandId))
  const [first] = found
  if (first === undefined) return null
  for (const [commandId] of found) {
    marks.wanted.delete(commandId)
    marks.happened.set(commandId, first[1])
  }
  marks.spoiled++
  return first[1]
}
