// The process behind VirtualAddress.ts. With a backlog of one, new connections soon get no answer to their SYN while it is stopped.
import { connect, createServer, type Socket } from "node:net"

let target = Number(process.argv[2])

const joined = (one: Socket, other: Socket) => {
  one.setNoDelay(true)
  one.on("data", (chunk) => {
    if (!other.write(chunk)) one.pause()
  })
  other.on("drain", () => one.resume())
  one.on("error", () => other.resetAndDestroy())
  one.on("close", () => other.destroySoon())
}

const server = createServer((client) => {
  const behind = connect(target, "127.0.0.1")
  joined(client, behind)
  joined(behind, client)
})

process.on("message", (port) => {
  target = Number(port)
  process.send?.(port)
})

server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => process.send?.(server.address()))
