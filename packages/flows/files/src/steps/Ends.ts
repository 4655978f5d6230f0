// The first and the last bytes of a content: what most questions about a file are answered from.
import type { Sha256 } from "@holdfast/contracts/Ids"
import type { BlobStore } from "@holdfast/storage/BlobStore"
import { Effect, Stream } from "effect"

export interface Stored {
  readonly sha256: Sha256
  readonly sizeBytes: number
}

interface EndBytes {
  readonly head: number
  readonly tail: number
}

/** The same bytes twice when the content is no longer than either. */
export const readEnds = Effect.fnUntraced(function* (store: BlobStore, { sha256, sizeBytes }: Stored, bytes: EndBytes) {
  const read = (start: number, length: number) =>
    Effect.map(Stream.runCollect(store.read(sha256, { start, end: start + length - 1 })), (chunks) =>
      Buffer.concat(chunks)
    )
  const head = yield* read(0, Math.min(sizeBytes, bytes.head))
  if (head.length === sizeBytes) return { head, tail: head.subarray(-bytes.tail) }
  const tailBytes = Math.min(sizeBytes, bytes.tail)
  return { head, tail: yield* read(sizeBytes - tailBytes, tailBytes) }
})
