// The load of commands.bench.ts, in a process of its own: OpenTicket over keep-alive connections that speak just enough HTTP/1.1, so that
// the generator takes little of a machine that it shares with the server. Closed loop: each connection sends when it is answered.
// Open loop: requests are due at fixed times whatever the server does, and latency counts from then.
import { randomUUID } from "node:crypto"
import { connect } from "node:net"

export interface LoadOrder {
  readonly port: number
  readonly connections: number
  readonly tokens: ReadonlyArray<string>
  readonly durationMs: number
  /** Requests per second; null for the closed loop. */
  readonly rate: number | null
}

export interface LoadResult {
  readonly perSecond: number
  readonly latenciesMs: ReadonlyArray<number>
  /** Status lines that were not 200, with how often. */
  readonly refused: Readonly<Record<string, number>>
}

interface Line {
  /** When the request under way was due; null while idle. */
  dueMs: number | null
  readonly send: (dueMs: number) => void
}

const body = JSON.stringify({
  subject: "Printer on floor 3",
  body: "It prints empty pages since this morning. ".repeat(5)
})

const requestText = (token: string): string =>
  [
    "POST /v1/tickets HTTP/1.1",
    "host: bench",
    `authorization: Bearer ${token}`,
    `idempotency-key: ${randomUUID()}`,
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    "",
    body
  ].join("\r\n")

const run = async (order: LoadOrder): Promise<LoadResult> => {
  const latenciesMs: Array<number> = []
  const refused: Record<string, number> = {}
  const backlog: Array<number> = []
  const startMs = performance.now()
  const endMs = startMs + order.durationMs
  let sent = 0
  const token = () => order.tokens[sent++ % order.tokens.length] ?? ""

  const open = (onIdle: (line: Line) => void) =>
    new Promise<Line>((resolve, reject) => {
      const socket = connect({ port: order.port, host: "127.0.0.1", noDelay: true })
      let received = ""
      const line: Line = {
        dueMs: null,
        send: (dueMs) => {
          line.dueMs = dueMs
          socket.write(requestText(token()))
        }
      }
      socket.setEncoding("latin1")
      socket.once("error", reject)
      socket.once("connect", () => resolve(line))
      socket.on("data", (chunk: string) => {
        received += chunk
        const head = received.indexOf("\r\n\r\n")
        if (head === -1) return
        const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0)
        if (received.length < head + 4 + length) return
        const status = received.slice(9, 12)
        if (status === "200") latenciesMs.push(performance.now() - (line.dueMs ?? 0))
        else refused[status] = (refused[status] ?? 0) + 1
        received = ""
        line.dueMs = null
        onIdle(line)
      })
    })

  const onIdle = (line: Line) => {
    if (performance.now() >= endMs) return
    const dueMs = order.rate === null ? performance.now() : backlog.shift()
    if (dueMs !== undefined) line.send(dueMs)
  }
  const lines = await Promise.all(Array.from({ length: order.connections }, () => open(onIdle)))
  if (order.rate === null) for (const line of lines) onIdle(line)
  else await schedule(lines, backlog, order.rate, endMs)
  while (lines.some((line) => line.dueMs !== null)) await new Promise((resolve) => setTimeout(resolve, 5))
  return { perSecond: (latenciesMs.length * 1000) / (performance.now() - startMs), latenciesMs, refused }
}

const schedule = async (lines: ReadonlyArray<Line>, backlog: Array<number>, rate: number, endMs: number) => {
  for (let dueMs = performance.now(); dueMs < endMs; dueMs += 1000 / rate) {
    while (performance.now() < dueMs) await new Promise((resolve) => setTimeout(resolve, 1))
    const idle = lines.find((line) => line.dueMs === null)
    if (idle === undefined) backlog.push(dueMs)
    else idle.send(dueMs)
  }
}

process.on("message", (order: LoadOrder) => {
  run(order).then(
    (result) => process.send?.(result, () => process.exit(0)),
    (cause: unknown) => {
      console.error(cause)
      process.exit(1)
    }
  )
})
