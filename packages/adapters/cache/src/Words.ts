// Text as the word index sees it: letters and digits, in lower case, without accents. Writers and readers use the same function, so
// that a word is found however it was written.
import { Cache } from "@holdfast/resilience/Limits"

const wordLengthMax = 40

/** Distinct words in order of appearance, bounded. */
export const wordsOf = (text: string, countMax: number = Cache.wordsPerDocumentMax): ReadonlyArray<string> => {
  const words = new Set<string>()
  const plain = text
    .normalize("NFKD")
    .replace(/\p{M}+/gu, "")
    .toLowerCase()
  for (const [word] of plain.matchAll(/[\p{L}\p{N}]+/gu)) {
    if (words.size >= countMax) break
    words.add(word.slice(0, wordLengthMax))
  }
  return [...words]
}
