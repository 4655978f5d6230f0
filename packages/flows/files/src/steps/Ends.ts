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

export const allOf = <E, R>(content: Stream.Stream<Uint8Array, E, R>) =>
  Effect.map(Stream.runCollect(content), (chunks) => Buffer.concat(chunks))

/** Of a content that is no longer than its head. */
export const endsOf = (whole: Buffer, bytes: EndBytes) => ({ head: whole, tail: whole.subarray(-bytes.tail) })

/** The same bytes twice when the content is no longer than either. */
export const readEnds = Effect.fnUntraced(function* (store: BlobStore, { sha256, sizeBytes }: Stored, bytes: EndBytes) {
  const read = (start: number, length: number) => allOf(store.read(sha256, { start, end: start + length - 1 }))
  const head = yield* read(0, Math.min(sizeBytes, bytes.head))
  if (head.length === sizeBytes) return endsOf(head, bytes)
  const tailBytes = Math.min(sizeBytes, bytes.tail)
  return { head, tail: yield* read(sizeBytes - tailBytes, tailBytes) }
})
