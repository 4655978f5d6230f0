// A part of an answer that is JSON already. What many people are shown alike is written once and spliced into each answer; whoever wants
// the answer as a map still gets one.

type Json = Readonly<Record<string, unknown>>

export class JsonText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  toJSON(): unknown {
    return JSON.parse(this.text)
  }
}

/** As `JSON.stringify` would write it; only what the root fields answered may be JSON already. */
export const encodeResponse = (response: Json): string => {
  const { data } = response
  return isMap(data) && Object.values(data).some((value) => value instanceof JsonText)
    ? members(response, (value) => (value === data ? members(data, JSON.stringify) : JSON.stringify(value)))
    : JSON.stringify(response)
}

const isMap = (value: unknown): value is Json => typeof value === "object" && value !== null

const members = (map: Json, write: (value: unknown) => string): string => {
  const written: Array<string> = []
  for (const [key, value] of Object.entries(map)) {
    if (value === undefined) continue
    written.push(`${JSON.stringify(key)}:${value instanceof JsonText ? value.text : write(value)}`)
  }
  return `{${written.join(",")}}`
}
