// Two sequences compared while they are read, whatever their length: what a subscriber should have had, and what it had. Pure.
import { DrillLoad } from "@holdfast/resilience/Limits"

export interface SequenceFindings {
  readonly expected: number
  readonly received: number
  /** Should have come and did not, at its place. */
  readonly missing: number
  /** Came again. */
  readonly doubled: number
  /** Came after a later one. */
  readonly reordered: number
  /** Came and should not have: not permitted, or not in the log. */
  readonly unexpected: number
  /** Positions, the first few of each kind. */
  readonly examples: ReadonlyArray<string>
}

type Pages = AsyncIterable<ReadonlyArray<number>>

/** `expected` ascends. What came late counts as missing at its place too: exactly once, in order, is one promise. */
export const compareSequences = async (expected: Pages, received: Pages): Promise<SequenceFindings> => {
  const found = { expected: 0, received: 0, missing: 0, doubled: 0, reordered: 0, unexpected: 0 }
  const examples: Array<string> = []
  const note = (kind: "missing" | "doubled" | "reordered" | "unexpected", position: number) => {
    found[kind]++
    if (examples.length < DrillLoad.auditExamplesMax) examples.push(`${kind}: ${position}`)
  }
  const due = singly(expected)
  const nextDue = async () => {
    const { done, value } = await due.next()
    if (done === true) return Number.POSITIVE_INFINITY
    found.expected++
    return value
  }
  let awaited = await nextDue()
  let last = -1
  for await (const position of singly(received)) {
    found.received++
    if (position === last) note("doubled", position)
    else if (position < last) note("reordered", position)
    if (position <= last) continue
    for (; awaited < position; awaited = await nextDue()) note("missing", awaited)
    if (awaited === position) awaited = await nextDue()
    else note("unexpected", position)
    last = position
  }
  for (; awaited !== Number.POSITIVE_INFINITY; awaited = await nextDue()) note("missing", awaited)
  return { ...found, examples }
}

async function* singly(pages: Pages): AsyncGenerator<number, void> {
  for await (const page of pages) yield* page
}
