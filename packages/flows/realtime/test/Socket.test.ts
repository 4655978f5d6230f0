// Frames of our own making, read by a client of `ws`: around every length at which a header changes (RFC 6455, 5.2), between what `ws` itself
// sends, and to clients that do not read just now.
import { once } from "node:events"
import { createServer } from "node:http"
import { setImmediate } from "node:timers/promises"
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

it("gives each its own, also to who takes nothing for a while when others take everything", async () => {
  const all = await Promise.all(["a", "b", "c"].map(async (id) => ({ id, ...(await opened()) })))
  const [slow] = all
  slow?.client.pause()
  const bodies = Array.from({ length: 200 }, (_, index) => JSON.stringify({ index, body: "x".repeat(50_000) }))
  const told = all.map(({ id, socket }) => ({ id, socket, frame: socket.frame(id) }))
  for (const body of bodies) {
    const encoded = Buffer.from(body)
    for (const { frame, socket } of told) socket.send(frame(encoded, null))
    // The others read meanwhile.
    await setImmediate()
  }
  expect(slow?.socket.bufferedBytes).toBeGreaterThan(0)
  slow?.client.resume()
  for (const { client, heard, id, socket } of all) {
    socket.close(restarted)
    await once(client, "close")
    expect(heard).toEqual(bodies.map((body) => `{"id":"${id}","type":"next","payload":${body}}`))
  }
})
