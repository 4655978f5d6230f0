// A connection by WebSocket, speaking graphql-transport-ws. What many are told of is one frame in one piece of memory, of which only the
// subscription's own beginning is written anew for each of them. A copy for each would cost more than sending it, most of it later, in
// collections of garbage. It is written past `ws`, which would make a header and a second piece for each; `ws` writes at once itself while it
// compresses nothing, so neither overtakes the other.
import type { Duplex } from "node:stream"
import type { WebSocket } from "ws"
import type { Closing } from "./Closing.ts"
import type { Frame, Message, Transport } from "./Connection.ts"
import type { FeedReport } from "./Feed.ts"

const closingBrace = 0x7d
const wholeText = 0x81

/** Room for a server's frame (RFC 6455, 5.2: not masked) with its header, and where its payload begins. */
const emptyFrame = (length: number) => {
  const start = length < 126 ? 2 : length < 2 ** 16 ? 4 : 10
  const bytes = Buffer.allocUnsafeSlow(start + length)
  bytes[0] = wholeText
  bytes[1] = start === 2 ? length : start === 4 ? 126 : 127
  if (start === 4) bytes.writeUInt16BE(length, 2)
  if (start === 10) bytes.writeBigUInt64BE(BigInt(length), 2)
  return { bytes, start }
}

/** The last frame, which is written anew in place while its receivers have the same event and beginnings of the same length. */
const makeFrames = () => {
  let frame = emptyFrame(0)
  let last: Uint8Array | null = null
  let ownLength = 0
  return {
    of: (own: Uint8Array, encoded: Uint8Array): Uint8Array => {
      if (encoded !== last || own.length !== ownLength) {
        frame = emptyFrame(own.length + encoded.length + 1)
        frame.bytes.set(encoded, frame.start + own.length)
        frame.bytes[frame.bytes.length - 1] = closingBrace
        last = encoded
        ownLength = own.length
      }
      frame.bytes.set(own, frame.start)
      return frame.bytes
    },
    /** Somebody has still to take it. */
    leave: () => {
      last = null
    }
  }
}
const frames = makeFrames()
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
    const own = Buffer.from(`{"id":${JSON.stringify(id)},"type":"next","payload":`)
    return (encoded) => ({ own, encoded })
  }

  send(message: Message): void {
    if (typeof message === "string") this.#socket.send(message)
    else this.#write(message.own, message.encoded)
  }

  #write(own: Uint8Array, encoded: Uint8Array): void {
    this.#line.write(frames.of(own, encoded))
    // What the system has taken already is free for the next socket.
    if (this.#line.writableLength > 0) frames.leave()
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
