// Which media type an answer takes: the GraphQL-over-HTTP draft's two, by the client's `Accept`.

export const responseJson = "application/graphql-response+json"
export const json = "application/json"

export type AnswerType = typeof responseJson | typeof json

/** Null: the client takes neither. Without a wish, or with any type welcome, it is plain JSON. */
export const negotiate = (accept: string | undefined): AnswerType | null => {
  if (accept === undefined || accept === "" || accept === "*/*" || accept === json) return json
  let best: AnswerType | null = null
  let bestQuality = 0
  for (const range of accept.split(",").slice(0, 32)) {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase())
    const offered =
      type === responseJson ? responseJson : type === json || type === "application/*" || type === "*/*" ? json : null
    const quality = Number(parameters.find((one) => one.startsWith("q="))?.slice(2) ?? 1)
    if (offered !== null && quality > bestQuality) {
      best = offered
      bestQuality = quality
    }
  }
  return best
}
