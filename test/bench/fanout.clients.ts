// The sockets of the fan-out bench, in a process of their own so that the server has a core to itself. It connects in waves, notes when each
// event arrives, and tells its parent when every socket has had every event, and when the half and 99 of 100 had (the monotonic clock is
// the machine's).
import { WebSocket } from "ws"

export interface FanoutOrder {
  readonly url: string
  readonly sockets: number
  /** Spoken by each socket after it opened; `#` is its number. Empty: it only listens. */
  readonly greetings: ReadonlyArray<string>
  /** Messages that answer the greetings and are not events. */
  readonly answers: number
  /** Whether compression is offered. */
  readonly deflate?: boolean
}

/** From the parent: an order first, then how many events come next. */
export type ToClients = { readonly order: FanoutOrder } | { readonly expect: number }
/** To the parent. Nanoseconds of the monotonic clock, as digits: of the last receipt, the middle one, and the 99th of a hundred. */
export type FromClients =
  | { readonly ready: true }
  | { readonly receivedAt: string; readonly p50At: string; readonly p99At: string }

/** More at once would meet a full queue of connections, and wait a second for it. */
const wave = 200

let expected = Number.POSITIVE_INFINITY
let received = 0
let times = new BigInt64Array(0)

const tell = (message: FromClients): void => {
  process.send?.(message)
}

/** Told apart by a byte, so that counting costs next to nothing: `{"id"` begins an event, `{"type":"pi` a ping. */
const isEvent = (data: Buffer): boolean => data[2] === 0x69
const isPing = (data: Buffer): boolean => data[9] === 0x70 && data[10] === 0x69

const took = (): void => {
  times[received++] = process.hrtime.bigint()
  if (received !== expected) return
  const at = (part: number) => String(times[Math.min(expected - 1, Math.floor(expected * part))])
  tell({ receivedAt: at(1), p50At: at(0.5), p99At: at(0.99) })
}

/** Resolves once the socket is open and its greetings are answered. */
const connect = ({ answers, deflate = false, greetings, url }: FanoutOrder, index: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(url, "graphql-transport-ws", { perMessageDeflate: deflate })
    let answersLeft = answers
    const [first, ...rest] = greetings.map((greeting) => greeting.replaceAll("#", String(index).padStart(4, "0")))
    socket.once("error", reject)
    socket.once("close", () => reject(new Error("the server closed a socket")))
    socket.once("open", () => {
      if (first === undefined) resolve()
      else socket.send(first)
    })
    socket.on("message", (data) => {
      if (!Buffer.isBuffer(data)) return
      if (isEvent(data)) return took()
      if (isPing(data)) return socket.send(`{"type":"pong"}`)
      // A gateway answers the first before it hears the rest.
      if (answersLeft-- === answers) for (const greeting of rest) socket.send(greeting)
      if (answersLeft === 0) resolve()
    })
  })

const connectAll = async (order: FanoutOrder): Promise<void> => {
  for (let from = 0; from < order.sockets; from += wave) {
    const count = Math.min(wave, order.sockets - from)
    await Promise.all(Array.from({ length: count }, (_, index) => connect(order, from + index)))
  }
  tell({ ready: true })
}

let sockets = 0
process.on("message", (message: ToClients) => {
  if ("expect" in message) {
    received = 0
    expected = message.expect * sockets
    times = new BigInt64Array(expected)
    tell({ ready: true })
    return
  }
  sockets = message.order.sockets
  connectAll(message.order).catch((cause: unknown) => {
    console.error(cause)
    process.exit(1)
  })
})
process.on("disconnect", () => process.exit(0))
