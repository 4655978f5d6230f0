// A proxy as some companies have it: it knows HTTP, and answers 502 to whoever wants anything else of it, as a WebSocket does.
import { createServer, request as httpRequest } from "node:http"
import type { FaultTarget } from "@holdfast/testkit/Faults"
import { Effect, type Scope } from "effect"

export interface PlainProxy {
  readonly url: string
  /** How many sockets it refused, and how many requests it led on. */
  readonly refused: () => number
  readonly led: () => number
  /** Cuts whatever is under way. */
  readonly cut: () => void
}

export const plainProxy = ({ host, port }: FaultTarget): Effect.Effect<PlainProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    let refused = 0
    let led = 0
    const server = createServer((request, response) => {
      led++
      const { headers, method, url } = request
      const onward = httpRequest({ host, port, method, path: url, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(response)
        answer.on("error", () => response.destroy())
      })
      onward.on("error", () => response.destroy())
      response.on("close", () => onward.destroy())
      request.pipe(onward)
    })
    server.on("upgrade", (_request, socket) => {
      refused++
      socket.on("error", () => undefined)
      socket.end("HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    })
    const listening = yield* Effect.acquireRelease(
      Effect.callback<number>((resume) => {
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
        })
      }),
      () =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    )
    return {
      url: `http://127.0.0.1:${listening}`,
      refused: () => refused,
      led: () => led,
      cut: () => server.closeAllConnections()
    }
  })
