// The first and the last bytes of a file in quarantine: what most questions about a file are answered from.
import { Quarantine } from "@holdfast/storage/BlobStore"
import { Effect, Stream } from "effect"
import type { FileInHand } from "../Stage.ts"

interface EndBytes {
  readonly head: number
  readonly tail: number
}

/** The same bytes twice when the file is no longer than either. */
export const readEnds = Effect.fnUntraced(function* ({ sha256, sizeBytes }: FileInHand["attachment"], bytes: EndBytes) {
  const quarantine = yield* Quarantine
  const read = (start: number, length: number) =>
    Effect.map(Stream.runCollect(quarantine.read(sha256, { start, end: start + length - 1 })), (chunks) =>
      Buffer.concat(chunks)
    )
  const head = yield* read(0, Math.min(sizeBytes, bytes.head))
  if (head.length === sizeBytes) return { head, tail: head.subarray(-bytes.tail) }
  const tailBytes = Math.min(sizeBytes, bytes.tail)
  return { head, tail: yield* read(sizeBytes - tailBytes, tailBytes) }
})
