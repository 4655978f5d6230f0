// The sockets of the fan-out bench, in a process of their own so that the server has a core to itself. It connects, counts what
// arrives, and tells its parent when every socket has had every event, and when that was (the monotonic clock is the machine's).
import { WebSocket } from "ws"

export interface FanoutOrder {
  readonly url: string
  readonly sockets: number
  /** Spoken by each socket after it opened; `#` is its number. Empty: it only listens. */
  readonly greetings: ReadonlyArray<string>
  /** Messages that answer the greetings and are not events. */
  readonly answers: number
}

/** From the parent: an order first, then how many events come next. */
export type ToClients = { readonly order: FanoutOrder } | { readonly expect: number }
/** To the parent. Nanoseconds of the monotonic clock, as digits. */
export type FromClients = { readonly ready: true } | { readonly receivedAt: string }

let expected = Number.POSITIVE_INFINITY
let received = 0
let answersLeft = 0

const tell = (message: FromClients): void => {
  process.send?.(message)
}

/** Told apart by a byte, so that counting costs next to nothing: `{"id"` begins an event, `{"type":"pi` a ping. */
const isEvent = (data: Buffer): boolean => data[2] === 0x69
const isPing = (data: Buffer): boolean => data[9] === 0x70 && data[10] === 0x69

const took = (socket: WebSocket, data: Buffer): void => {
  if (isEvent(data)) {
    received++
    if (received === expected) tell({ receivedAt: String(process.hrtime.bigint()) })
  } else if (isPing(data)) socket.send(`{"type":"pong"}`)
  else if (--answersLeft === 0) tell({ ready: true })
}

const connect = (order: FanoutOrder, index: number): void => {
  const socket = new WebSocket(order.url, "graphql-transport-ws", { perMessageDeflate: false })
  socket.once("open", () => {
    const [first, ...rest] = order.greetings.map((greeting) => greeting.replaceAll("#", String(index).padStart(4, "0")))
    if (first === undefined) return
    // A gateway answers the first before it hears the rest.
    socket.once("message", () => {
      for (const greeting of rest) socket.send(greeting)
    })
    socket.send(first)
  })
  socket.on("message", (data) => {
    if (Buffer.isBuffer(data)) took(socket, data)
  })
}

let sockets = 0
process.on("message", (message: ToClients) => {
  if ("expect" in message) {
    received = 0
    expected = message.expect * sockets
    tell({ ready: true })
    return
  }
  sockets = message.order.sockets
  answersLeft = message.order.answers * sockets
  for (let index = 0; index < sockets; index++) connect(message.order, index)
})
process.on("disconnect", () => process.exit(0))
