// A connection by WebSocket, speaking graphql-transport-ws. An event that many are told of goes to each in two frames of one message (RFC 6455,
// 5.4): what is the subscription's own, then what all share. Both are made beforehand, headers and all, and written past `ws`, which would make
// two headers for every socket; it writes without delay itself while nothing is compressed, so neither overtakes the other. A copy for each
// would cost more than sending it, most of it later, in collections of garbage.
import type { Duplex } from "node:stream"
import type { WebSocket } from "ws"
import type { Closing } from "./Closing.ts"
import type { Frame, Message, Transport } from "./Connection.ts"
import type { FeedReport } from "./Feed.ts"

const closingBrace = Buffer.from("}")
const firstOfText = 0x01
const lastOfMessage = 0x80

/** A server's frame (RFC 6455, 5.2), which is not masked. */
const frameOf = (kind: number, payload: Uint8Array): Uint8Array => {
  const { length } = payload
  if (length < 126) return Buffer.concat([Buffer.of(kind, length), payload])
  const isShort = length < 2 ** 16
  const header = Buffer.alloc(isShort ? 4 : 10)
  header.writeUInt16BE((kind << 8) | (isShort ? 126 : 127))
  if (isShort) header.writeUInt16BE(length, 2)
  else header.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([header, payload])
}

/** The same bytes for all who are told of the same event, which are told one after the other. */
const makeShared = () => {
  let last: Uint8Array | null = null
  let shared = frameOf(lastOfMessage, closingBrace)
  return (encoded: Uint8Array): Uint8Array => {
    if (encoded !== last) shared = frameOf(lastOfMessage, Buffer.concat([encoded, closingBrace]))
    last = encoded
    return shared
  }
}
const sharedOf = makeShared()
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
    const own = frameOf(firstOfText, Buffer.from(`{"id":${JSON.stringify(id)},"type":"next","payload":`))
    return (encoded) => [own, sharedOf(encoded)]
  }

  send(message: Message): void {
    if (typeof message === "string" || message instanceof Uint8Array) this.#socket.send(message, { binary: false })
    else this.#write(message)
  }

  /** With one call of the system. */
  #write(frames: ReadonlyArray<Uint8Array>): void {
    this.#line.cork()
    for (const frame of frames) this.#line.write(frame)
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
