// Frames of our own making, read by a client of `ws`: around every length at which a header changes (RFC 6455, 5.2), between what `ws` itself sends.
import { once } from "node:events"
import { createServer } from "node:http"
import { afterEach, expect, it } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { restarted } from "../src/Closing.ts"
import { Socket } from "../src/Socket.ts"

const closing: Array<() => void> = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

const opened = async () => {
  const server = createServer()
  const all = new WebSocketServer({ noServer: true, perMessageDeflate: false })
  const accepted = Promise.withResolvers<Socket>()
  server.on("upgrade", (request, line, head) =>
    all.handleUpgrade(request, line, head, (socket) => accepted.resolve(new Socket(socket, line)))
  )
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  const client = new WebSocket(`ws://127.0.0.1:${port}`)
  closing.push(() => {
    client.terminate()
    server.close()
  })
  const heard: Array<string> = []
  client.on("message", (data) => heard.push(String(data)))
  const [socket] = await Promise.all([accepted.promise, once(client, "open")])
  return { socket, client, heard }
}

it("says each event whole, whatever its length and its subscription's id, and in order with everything else", async () => {
  const { client, heard, socket } = await opened()
  const bodies = [0, 1, 122, 123, 124, 125, 126, 65_532, 65_533, 65_534, 70_000].map((length) =>
    "ä".repeat(length >> 1)
  )
  const ids = ["1", 'a "quoted" id', "i".repeat(200), "i".repeat(70_000)]
  const told: Array<string> = []
  for (const id of ids) {
    const frame = socket.frame(id)
    for (const body of bodies) {
      const payload = JSON.stringify({ body })
      socket.send(frame(Buffer.from(payload), null))
      socket.send(`between ${told.length}`)
      told.push(`{"id":${JSON.stringify(id)},"type":"next","payload":${payload}}`, `between ${told.length}`)
    }
  }
  socket.close(restarted)
  await once(client, "close")
  expect(heard).toEqual(told)
})

it("what many are told of is there once, for whoever has not taken it yet, too", async () => {
  const { socket } = await opened()
  const encoded = Buffer.from('{"data":1}')
  const [, shared] = socket.frame("1")(encoded, null)
  expect(socket.frame("2")(encoded, null)[1]).toBe(shared)
  expect(socket.frame("2")(Buffer.from('{"data":2}'), null)[1]).not.toBe(shared)
})
