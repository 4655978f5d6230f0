// A connection by WebSocket, speaking graphql-transport-ws. An event that many are told of goes to each in fragments of one message (RFC 6455,
// 5.4): what is the subscription's own, then the bytes that all share. A copy for each would cost more than sending it, most of it later, in
// collections of garbage.
import type { Duplex } from "node:stream"
import type { WebSocket } from "ws"
import type { Closing } from "./Closing.ts"
import type { Frame, Message, Transport } from "./Connection.ts"
import type { FeedReport } from "./Feed.ts"

const closingBrace = Buffer.from("}")

/** The same bytes for all who are told of the same event, which are told one after the other. */
const makeClosed = () => {
  let last: Uint8Array | null = null
  let closed: Uint8Array = closingBrace
  return (encoded: Uint8Array): Uint8Array => {
    if (encoded !== last) closed = Buffer.concat([encoded, closingBrace])
    last = encoded
    return closed
  }
}
const closedOf = makeClosed()
/** RFC 6455: a control frame has 125 bytes, two of them are the code. */
const reasonBytesMax = 123

export class Socket implements Transport {
  readonly #socket: WebSocket
  readonly #line: Duplex

  /** `line`: what the socket speaks over. */
  constructor(socket: WebSocket, line: Duplex) {
    this.#socket = socket
    this.#line = line
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }

  frame(id: string): Frame {
    const prefix = Buffer.from(`{"id":${JSON.stringify(id)},"type":"next","payload":`)
    return (encoded) => [prefix, closedOf(encoded)]
  }

  send(message: Message): void {
    if (typeof message === "string" || message instanceof Uint8Array) this.#socket.send(message, { binary: false })
    else this.#sendFragments(message)
  }

  /** With one call of the system. */
  #sendFragments(fragments: ReadonlyArray<Uint8Array>): void {
    const last = fragments.length - 1
    this.#line.cork()
    for (const [index, fragment] of fragments.entries()) {
      this.#socket.send(fragment, { binary: false, fin: index === last })
    }
    this.#line.uncork()
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
