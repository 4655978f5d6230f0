// A process to keep: alive over HTTP on the sockets that it inherits, deaf to signals when told to be, busy for ever once told, broken
// from the start, or broken in every life but the first.
import { existsSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"

const [manner, marker] = process.argv.slice(2)
if (manner === "deaf") for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => undefined)
if (manner === "busy")
  process.on("SIGUSR2", () => {
    writeFileSync(marker, "")
    for (;;);
  })
if (manner === "broken" || (manner === "once" && existsSync(marker))) {
  console.error("HOLDFAST_THING is not valid.")
  process.exit(78)
}
if (manner === "once") writeFileSync(marker, "")
for (const pair of process.env.HOLDFAST_SOCKETS.split(",")) {
  const fd = Number(pair.split(":")[1])
  createServer((_request, response) => response.end(String(process.pid))).listen({ fd })
}
