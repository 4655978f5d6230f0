// The desk's doors as the page uses them: queries, commands, what the processes say. Each request has a deadline; what a command's answer
// means for the text that was sent is decided here, once.
const requestDeadlineMs = 10_000

/** @param {{ commandUrl: string }} doors @param {string} token */
export const openDesk = (doors, token) => {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json", accept: "application/json" }
  const ask = (url, init = {}) => fetch(url, { ...init, headers: { ...headers, ...init.headers }, ...deadline() })

  /** The answer's data, and where it comes from. Throws in plain words. */
  const query = async (text, variables = {}) => {
    const response = await ask("/graphql", { method: "POST", body: JSON.stringify({ query: text, variables }) })
    const { data, errors, extensions } = await response.json()
    if (errors !== undefined && (data === undefined || data === null)) throw new Error(errors[0].message)
    return { data, freshness: extensions?.freshness ?? null }
  }

  /** Never throws: an answer that did not come is an outcome too. */
  const command = async (path, payload, commandId) => {
    try {
      const response = await ask(`${doors.commandUrl}${path}`, {
        method: "POST",
        headers: { "idempotency-key": commandId },
        body: JSON.stringify(payload)
      })
      return outcomeOf(response.status, await response.json())
    } catch {
      return { kind: "unknown", sentence: "No answer came: the line is cut, or the desk is away.", retryAfterMs: 1000 }
    }
  }

  const status = async () => {
    const response = await ask("/status.json")
    if (!response.ok) throw new Error(`answered ${response.status}`)
    return response.json()
  }

  return { query, command, status, headers, doors }
}

const deadline = () => ({ signal: AbortSignal.timeout(requestDeadlineMs) })

/** Certainly nothing was done, and the same is worth sending later. */
const away = new Map([
  ["WriteUnavailable", "The desk cannot write just now; nothing was done."],
  ["Overloaded", "The desk is at its limit just now; nothing was done."],
  ["RateLimited", "Too many at once from you; nothing was done."]
])
/** Asking again tells. */
const unknown = new Map([
  ["OutcomeUnknown", "The connection was lost while saving."],
  ["CommandInProgress", "It is still being saved."]
])

const outcomeOf = (status, body) => {
  if (status === 200) return { kind: "accepted" }
  const tag = String(body.type ?? "")
    .split(":")
    .at(-1)
  const retryAfterMs = Number(body.retryAfterMs ?? 1000)
  if (away.has(tag)) return { kind: "away", sentence: away.get(tag), retryAfterMs }
  const title = String(body.title ?? `The desk answered ${status}.`)
  if (unknown.has(tag) || status >= 500) return { kind: "unknown", sentence: unknown.get(tag) ?? title, retryAfterMs }
  const issues = (body.issues ?? []).map(({ message, path }) => (path === "" ? message : `${path}: ${message}`))
  return { kind: "refused", sentence: issues.length > 0 ? `${issues.join("; ")}.` : title, retryAfterMs }
}
