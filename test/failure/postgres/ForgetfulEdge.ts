// A front before a process of the desk that, for chosen commands and once each, hands the request on, waits until it was answered, and
// then resets the client's connection: what a proxy that dies, or a branch line that is cut, does to somebody who just pressed "send".
import { createServer, request } from "node:http"
import type { AddressInfo } from "node:net"

export interface ForgetfulEdge {
  readonly url: string
  /** The next answer to this command is forgotten. */
  readonly forget: (commandId: string) => void
  readonly stop: () => Promise<void>
}

export const forgetfulEdge = async (port: number): Promise<ForgetfulEdge> => {
  const wanted = new Set<string>()
  const server = createServer((incoming, outgoing) => {
    const { headers, method, url } = incoming
    const isForgotten = wanted.delete(String(headers["idempotency-key"]))
    const onward = request({ host: "127.0.0.1", port, method, path: url, headers }, (answer) => {
      if (isForgotten) {
        answer.resume().on("end", () => incoming.socket.resetAndDestroy())
        return
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
    })
    onward.on("error", () => incoming.socket.resetAndDestroy())
    incoming.pipe(onward)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    forget: (commandId) => void wanted.add(commandId),
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      })
  }
}
