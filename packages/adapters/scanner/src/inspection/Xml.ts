// XML that declares entities: how long it would become, and whether it reaches for other files. Nothing is expanded: lengths are counted.
import { textOf } from "../Containers.ts"
import { bad, beyond } from "./Findings.ts"
import { type Level, readAt } from "./Walk.ts"

export const checkEntities = async ({ budget, file, sizeBytes }: Level): Promise<void> => {
  budget.hold(sizeBytes, "XML with entities")
  const text = textOf(await readAt(file, 0, sizeBytes))
  const lengthMax = budget.limits.entityBytesMax
  if (expandedLength(text, lengthMax) > lengthMax)
    throw beyond(`XML whose entities expand to more than ${lengthMax} bytes`)
}

/** Entities by name, general and parameter ones alike. */
const declarations = (text: string): ReadonlyMap<string, string> => {
  const values = new Map<string, string>()
  for (const match of text.matchAll(/<!ENTITY\s+(?:%\s+)?([^\s"'>]+)\s+(SYSTEM\b|PUBLIC\b|["'])/gi)) {
    const [declaration, name = "", begin = ""] = match
    if (begin.length > 1) throw bad("type_not_allowed", "XML that reaches for another file")
    const from = match.index + declaration.length
    const end = text.indexOf(begin, from)
    // The first declaration counts (XML 1.0, 4.2).
    if (!values.has(name)) values.set(name, text.slice(from, end < 0 ? text.length : end))
  }
  return values
}

const reference = /[&%]([^\s#;&%"'<>]{1,200});/g

/** All that the references in the document stand for; stops counting once that is too much. */
const expandedLength = (text: string, lengthMax: number): number => {
  const values = declarations(text)
  const lengths = new Map<string, number>()
  const lengthOf = (name: string, within: ReadonlySet<string>): number => {
    const known = lengths.get(name)
    if (known !== undefined) return known
    const value = values.get(name)
    if (value === undefined) return 0
    // An entity within itself is not XML, and endless for whoever follows it.
    if (within.has(name) || within.size > 64) return Number.POSITIVE_INFINITY
    let length = value.length
    for (const [, inner = ""] of value.matchAll(reference)) length += lengthOf(inner, new Set([...within, name]))
    lengths.set(name, length)
    return length
  }
  let total = 0
  for (const [, name = ""] of text.matchAll(reference)) {
    total += lengthOf(name, new Set())
    if (total > lengthMax) return total
  }
  return total
}
