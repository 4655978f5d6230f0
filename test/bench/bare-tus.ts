// The ceiling for uploads: the tus library with its own file store, and nothing around it. Arguments: port, folder, and `flushed` for a
// store that flushes each upload to the disk before it answers, as a server must that promises to keep what it acknowledged.
import { open } from "node:fs/promises"
import { join } from "node:path"
import { FileStore } from "@tus/file-store"
import { Server } from "@tus/server"

const [port = "", directory = "", flushed = ""] = process.argv.slice(2)

class FlushedStore extends FileStore {
  override async write(...[readable, id, offset]: Parameters<FileStore["write"]>): Promise<number> {
    const received = await super.write(readable, id, offset)
    const file = await open(join(directory, id), "r+")
    await file.datasync()
    await file.close()
    return received
  }
}

const datastore = flushed === "flushed" ? new FlushedStore({ directory }) : new FileStore({ directory })
const server = new Server({ path: "/files", relativeLocation: true, datastore })
server.listen({ host: "127.0.0.1", port: Number(port) }, () => process.stdout.write("is ready\n"))
