// A WebSocket client made of bytes: it writes any frame, right or wrong, and tells every frame that comes. For what no library would send.
import { randomBytes } from "node:crypto"
import { connect, type Socket } from "node:net"

export interface FrameToSend {
  /** 1 text, 2 binary, 0 continuation, 8 close, 9 ping, 10 pong. */
  readonly opcode?: number
  readonly payload?: Uint8Array | string
  readonly isFinal?: boolean
  readonly isMasked?: boolean
  readonly reservedBits?: number
}

export interface Frame {
  readonly opcode: number
  readonly payload: Buffer
}

/** Null for `code`: the line was cut without a word. */
export interface Ending {
  readonly code: number | null
  readonly reason: string
}

export class RawLine {
  readonly #socket: Socket
  #bytes = Buffer.alloc(0)
  /** What came and nobody has asked for yet, and who asked and has nothing yet; null is the end. */
  readonly #frames: Array<Frame | null> = []
  readonly #readers: Array<(frame: Frame | null) => void> = []
  /** The answer to the upgrade. */
  readonly answer: Promise<string>

  constructor(url: string, headers: ReadonlyArray<string> = ["Sec-WebSocket-Protocol: graphql-transport-ws"]) {
    const { hostname, pathname, port } = new URL(url)
    this.#socket = connect(Number(port), hostname)
    this.#socket.on("error", () => undefined)
    const answered = Promise.withResolvers<string>()
    this.answer = answered.promise
    this.#socket.on("data", (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
      const end = this.#bytes.indexOf("\r\n\r\n")
      if (end < 0) return
      answered.resolve(this.#bytes.subarray(0, end).toString("latin1"))
      this.#bytes = this.#bytes.subarray(end + 4)
      this.#socket.removeAllListeners("data").on("data", (more) => this.#took(more))
      this.#took(Buffer.alloc(0))
    })
    this.#socket.once("close", () => this.#give(null))
    const upgrade = [
      `GET ${pathname} HTTP/1.1`,
      ...["Host: desk", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"],
      `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
      ...headers
    ]
    this.#socket.write(`${upgrade.join("\r\n")}\r\n\r\n`)
  }

  write(bytes: Uint8Array): this {
    this.#socket.write(bytes)
    return this
  }

  /** The frames in one piece, as one packet brings them. */
  frames(...frames: ReadonlyArray<FrameToSend>): this {
    return this.write(Buffer.concat(frames.map(encoded)))
  }

  say(...messages: ReadonlyArray<unknown>): this {
    return this.frames(...messages.map((message) => ({ payload: text(message) })))
  }

  /** Null once the line has ended. */
  hear(): Promise<Frame | null> {
    const frame = this.#frames.shift()
    if (frame !== undefined) return Promise.resolve(frame)
    return new Promise((resolve) => this.#readers.push(resolve))
  }

  /** The next message. */
  async message(): Promise<Record<string, unknown>> {
    const frame = await this.hear()
    if (frame === null) return { ended: true }
    if (frame.opcode === 8) return { closed: frame.payload.readUInt16BE(0) }
    return frame.opcode === 1 ? JSON.parse(frame.payload.toString()) : { opcode: frame.opcode }
  }

  /** How the gateway ends it, after which nobody is there any more; what it still sends before is in `heard`. */
  async ended(heard: Array<string> = []): Promise<Ending> {
    const ending = await this.ending(heard)
    this.cut()
    return ending
  }

  /** How the gateway ends it; the line stays for what comes late. */
  async ending(heard: Array<string> = []): Promise<Ending> {
    const frame = await this.hear()
    if (frame === null) return { code: null, reason: "" }
    if (frame.opcode === 8) {
      return { code: frame.payload.readUInt16BE(0), reason: frame.payload.subarray(2).toString() }
    }
    heard.push(frame.payload.toString())
    return this.ending(heard)
  }

  /** Connected and acknowledged. */
  async acknowledged(token: string): Promise<this> {
    await this.say({ type: "connection_init", payload: { authorization: `Bearer ${token}` } }).message()
    return this
  }

  cut(): void {
    this.#socket.destroy()
  }

  #took(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    for (;;) {
      const frame = this.#nextFrame()
      if (frame === null) return
      this.#give(frame)
    }
  }

  #nextFrame(): Frame | null {
    if (this.#bytes.length < 2) return null
    const short = this.#bytes.readUInt8(1) & 0x7f
    const head = short === 127 ? 10 : short === 126 ? 4 : 2
    if (this.#bytes.length < head) return null
    const length =
      short === 127 ? Number(this.#bytes.readBigUInt64BE(2)) : short === 126 ? this.#bytes.readUInt16BE(2) : short
    if (this.#bytes.length < head + length) return null
    const frame = { opcode: this.#bytes.readUInt8(0) & 0x0f, payload: this.#bytes.subarray(head, head + length) }
    this.#bytes = this.#bytes.subarray(head + length)
    return frame
  }

  #give(frame: Frame | null): void {
    const reader = this.#readers.shift()
    if (reader === undefined) this.#frames.push(frame)
    else reader(frame)
  }
}

const text = (message: unknown): string => (typeof message === "string" ? message : JSON.stringify(message))

const encoded = ({ isFinal = true, isMasked = true, opcode = 1, payload = "", reservedBits = 0 }: FrameToSend) => {
  const bytes = Buffer.from(payload)
  const mask = randomBytes(4)
  const long = bytes.length > 65_535 ? 127 : bytes.length > 125 ? 126 : bytes.length
  const head = Buffer.alloc(long === 127 ? 10 : long === 126 ? 4 : 2)
  head.writeUInt8((isFinal ? 0x80 : 0) | (reservedBits << 4) | opcode, 0)
  head.writeUInt8((isMasked ? 0x80 : 0) | long, 1)
  if (long === 126) head.writeUInt16BE(bytes.length, 2)
  if (long === 127) head.writeBigUInt64BE(BigInt(bytes.length), 2)
  if (!isMasked) return Buffer.concat([head, bytes])
  return Buffer.concat([head, mask, bytes.map((byte, index) => byte ^ (mask[index % 4] ?? 0))])
}
