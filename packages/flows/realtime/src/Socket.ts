// A connection by WebSocket, speaking graphql-transport-ws.
import type { WebSocket } from "ws"
import type { Closing } from "./Closing.ts"
import type { Frame, Transport } from "./Connection.ts"
import type { FeedReport } from "./Feed.ts"

const closingBrace = 0x7d
/** RFC 6455: a control frame has 125 bytes, two of them are the code. */
const reasonBytesMax = 123

export class Socket implements Transport {
  readonly #socket: WebSocket

  constructor(socket: WebSocket) {
    this.#socket = socket
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }

  frame(id: string): Frame {
    const prefix = Buffer.from(`{"id":${JSON.stringify(id)},"type":"next","payload":`)
    return (encoded) => {
      const message = Buffer.allocUnsafe(prefix.byteLength + encoded.byteLength + 1)
      message.set(prefix, 0)
      message.set(encoded, prefix.byteLength)
      message[message.byteLength - 1] = closingBrace
      return message
    }
  }

  send(message: string | Uint8Array): void {
    this.#socket.send(message, { binary: false })
  }

  tell(report: FeedReport): void {
    this.send(JSON.stringify({ type: "ping", payload: { feed: report } }))
  }

  close({ code, reason }: Closing): void {
    // graphql-ws names the client's own id in some reasons, however long that is.
    this.#socket.close(code, Buffer.byteLength(reason) <= reasonBytesMax ? reason : "")
  }

  terminate(): void {
    this.#socket.terminate()
  }
}
