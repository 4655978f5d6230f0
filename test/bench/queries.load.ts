// The load of queries.bench.ts, in a process of its own: one POST over keep-alive connections that speak just enough HTTP/1.1. Closed loop:
// each connection sends when it is answered.
import { connect } from "node:net"

export interface QueryLoadOrder {
  readonly port: number
  readonly connections: number
  readonly durationMs: number
  /** Connections take them in turn. */
  readonly tokens: ReadonlyArray<string>
  readonly body: string
}

export interface QueryLoadResult {
  readonly perSecond: number
  readonly latenciesMs: ReadonlyArray<number>
  /** Answers that were not 200, or not of the length of the first. */
  readonly wrong: number
}

const requestBy = (token: string, body: string): Buffer => {
  const head = [
    "POST /graphql HTTP/1.1",
    "host: bench",
    `authorization: Bearer ${token}`,
    "content-type: application/json",
    "accept: application/json",
    `content-length: ${Buffer.byteLength(body)}`
  ]
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`)
}

const run = async ({ body, connections, durationMs, port, tokens }: QueryLoadOrder): Promise<QueryLoadResult> => {
  const requests = tokens.map((token) => requestBy(token, body))
  const latenciesMs: Array<number> = []
  let wrong = 0
  const startMs = performance.now()
  const endMs = startMs + durationMs
  const line = (_: unknown, index: number) =>
    new Promise<void>((done, fail) => {
      const request = requests[index % requests.length] ?? Buffer.alloc(0)
      const socket = connect({ port, host: "127.0.0.1", noDelay: true })
      let sentMs = 0
      let expected = 0
      let received = 0
      const send = () => {
        sentMs = performance.now()
        expected = 0
        received = 0
        if (sentMs < endMs) socket.write(request)
        else socket.end(done)
      }
      socket.once("error", fail)
      socket.once("connect", send)
      socket.on("data", (chunk) => {
        if (expected === 0) {
          const text = chunk.toString("latin1")
          const end = text.indexOf("\r\n\r\n")
          expected = end + 4 + Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
          if (!text.startsWith("HTTP/1.1 200")) wrong++
        }
        received += chunk.length
        if (received < expected) return
        latenciesMs.push(performance.now() - sentMs)
        send()
      })
    })
  await Promise.all(Array.from({ length: connections }, line))
  return { perSecond: (latenciesMs.length * 1000) / (performance.now() - startMs), latenciesMs, wrong }
}

process.once("message", async (order: QueryLoadOrder) => {
  process.send?.(await run(order), () => process.exit(0))
})
