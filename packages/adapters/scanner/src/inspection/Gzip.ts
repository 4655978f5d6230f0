// gzip (RFC 1952): one thing inside, of however many members.

import { Readable } from "node:stream"
import { createGunzip } from "node:zlib"
import { enter, type Level, slice } from "./Walk.ts"
import { unpacked } from "./Zip.ts"

export const walkGzip = (level: Level): Promise<void> =>
  enter(level, { name: "the content of a gzip", chunks: () => gunzipped(level) })

const gunzipped = async function* ({ path, sizeBytes }: Level): AsyncGenerator<Uint8Array> {
  const source = Readable.from(slice(path, 0, sizeBytes), { objectMode: false })
  const gunzip = createGunzip({ chunkSize: 1 << 18 })
  source.on("error", (error) => gunzip.destroy(error))
  try {
    yield* source.pipe(gunzip)
  } catch (error) {
    throw unpacked(error)
  } finally {
    source.destroy()
    gunzip.destroy()
  }
}
