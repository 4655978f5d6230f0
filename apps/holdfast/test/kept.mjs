// A process to keep: alive over HTTP on the port it is given, deaf to SIGTERM when told to be.
import { createServer } from "node:http"

const [port, deaf] = process.argv.slice(2)
if (deaf === "deaf") process.on("SIGTERM", () => undefined)
if (deaf === "broken") {
  console.error("HOLDFAST_THING is not valid.")
  process.exit(78)
}
createServer((_request, response) => response.end("ok")).listen(Number(port), "127.0.0.1")
