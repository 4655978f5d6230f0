// A server whose turns are long: told to, it is busy until the marker is there, and then tells how many connections it took in each turn.
import { existsSync, writeSync } from "node:fs"
import { createServer } from "node:http"
import { watchConnections } from "../src/Connections.ts"

const [marker = "", ...descriptors] = process.argv.slice(2)
const [first, ...others] = descriptors.map(Number)
const server = createServer()
const connections = watchConnections(server, 40)
let taken = 0
server.on("connection", () => taken++)

const turns: Array<number> = []
const turn = () => {
  turns.push(taken)
  taken = 0
  if (turns.length < 80) return setImmediate(turn)
  writeSync(1, `${JSON.stringify({ turns, open: connections.count() })}\n`)
  connections.stopAccepting()
}

server.listen({ fd: first }, () => {
  for (const fd of others) connections.listenAlso(fd)
  setImmediate(() => {
    writeSync(1, "busy\n")
    while (!existsSync(marker));
    setImmediate(turn)
  })
})
