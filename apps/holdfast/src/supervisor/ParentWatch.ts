// Loaded into each process before its own code. File descriptor 3 is a pipe from the supervisor that carries nothing: when it closes, the
// supervisor is gone, and this process stops in order. It holds nothing open itself.
import { Socket } from "node:net"

const pipe = new Socket({ fd: 3, readable: true, writable: false })
pipe.on("close", () => process.kill(process.pid, "SIGTERM"))
pipe.on("error", () => undefined)
pipe.resume()
pipe.unref()
