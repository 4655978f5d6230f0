// The least that taking uploads can cost: a POST gives a name, a PATCH is piped into a file. No protocol, no check, no flush, no hash.
// Arguments: port, folder.
import { randomUUID } from "node:crypto"
import { createWriteStream } from "node:fs"
import { createServer } from "node:http"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"

const [port = "", folder = ""] = process.argv.slice(2)

const server = createServer((request, response) => {
  if (request.method === "POST") {
    response.writeHead(201, { location: `/files/${randomUUID()}` }).end()
    return
  }
  const name = request.url?.split("/").at(-1) ?? ""
  pipeline(request, createWriteStream(join(folder, name))).then(
    () => response.writeHead(204).end(),
    () => response.writeHead(500).end()
  )
})
server.listen({ host: "127.0.0.1", port: Number(port) }, () => process.stdout.write("is ready\n"))
