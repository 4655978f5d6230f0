// The ceiling for uploads: the tus library with its own file store, and nothing around it. Arguments: port and folder.
import { FileStore } from "@tus/file-store"
import { Server } from "@tus/server"

const [port = "", folder = ""] = process.argv.slice(2)
const server = new Server({ path: "/files", relativeLocation: true, datastore: new FileStore({ directory: folder }) })
server.listen({ host: "127.0.0.1", port: Number(port) }, () => process.stdout.write("is ready\n"))
