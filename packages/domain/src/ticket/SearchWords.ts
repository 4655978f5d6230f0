// Text as search sees it: letters and digits, in lower case, without accents. What writes an index and what asks it use the same
// function, so that a word is found however it was written, live and cached alike.

const wordLengthMax = 40

const plain = (text: string): string =>
  text
    .normalize("NFKD")
    .replace(/\p{M}+/gu, "")
    .toLowerCase()

/** Every word in order, repetitions included. */
export const allWords = (text: string): ReadonlyArray<string> =>
  [...plain(text).matchAll(/[\p{L}\p{N}]+/gu)].map(([word]) => word.slice(0, wordLengthMax))

/** Distinct words in order of appearance. */
export const wordsOf = (text: string, countMax: number): ReadonlyArray<string> =>
  [...new Set(allWords(text))].slice(0, countMax)

export interface Segment {
  readonly text: string
  readonly matched: boolean
}

const wordPattern = /[\p{L}\p{N}\p{M}]+/gu

/** A piece of the text around the first match, cut at words that begin as one of the asked words does. */
export const highlight = (text: string, asked: ReadonlyArray<string>, lengthMax: number): ReadonlyArray<Segment> => {
  const matches = [...text.matchAll(wordPattern)].filter(([word]) => {
    const normal = plain(word)
    return asked.some((one) => normal.startsWith(one))
  })
  const first = matches[0]?.index ?? 0
  const start = first <= lengthMax / 3 ? 0 : wordStart(text, first - Math.floor(lengthMax / 3))
  const end = Math.min(text.length, start + lengthMax)
  const segments: Array<Segment> = []
  let at = start
  for (const match of matches) {
    const to = match.index + match[0].length
    if (match.index < at || to > end) continue
    if (match.index > at) segments.push({ text: text.slice(at, match.index), matched: false })
    segments.push({ text: match[0], matched: true })
    at = to
  }
  if (at < end) segments.push({ text: text.slice(at, end), matched: false })
  return segments
}

const wordStart = (text: string, from: number): number => {
  const space = text.indexOf(" ", from)
  return space < 0 ? from : space + 1
}
