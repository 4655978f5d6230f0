// @ts-check
// What may be said of the live feed, and since when. Pure: the feed tells what happens to it, this says what that means. It says `live` only
// when everything that the gateway had at the last greeting has been seen here.

/**
 * `goal`: the gateway's newest position at its last greeting. `reached`: the newest that is shown.
 * @typedef {{ kind: "connecting" | "catchingUp" | "live" | "stale" | "cut" | "refused", sinceMs: number, goal: number, reached: number, sentence: string }} FeedState
 * @typedef {{ state?: string | undefined, position?: number | undefined }} Told
 * @typedef {{ type: "greeted", feed: Told | undefined } | { type: "told", feed: Told | undefined } | { type: "reached", position: number } | { type: "cut" } | { type: "refused", sentence: string }} FeedEvent
 */

/** @param {number} nowMs @returns {FeedState} */
export const initialFeed = (nowMs) => ({ kind: "connecting", sinceMs: nowMs, goal: 0, reached: 0, sentence: "" })

/** @param {FeedState} state @param {FeedEvent} event @param {number} nowMs @returns {FeedState} */
export const feedAfter = (state, event, nowMs) => {
  switch (event.type) {
    case "greeted": {
      const goal = event.feed?.position ?? state.goal
      // What the gateway has is the goal; that it was seen here is another matter.
      const told = { state: event.feed?.state }
      return heard({ ...state, kind: "catchingUp", goal }, told, state.kind, state.sinceMs, nowMs)
    }
    case "told":
      return heard(state, event.feed, state.kind, state.sinceMs, nowMs)
    case "reached":
      return heard({ ...state, reached: Math.max(state.reached, event.position) }, {}, state.kind, state.sinceMs, nowMs)
    case "cut":
      return state.kind === "cut" ? state : { ...state, kind: "cut", sinceMs: nowMs }
    case "refused":
      return { ...state, kind: "refused", sinceMs: nowMs, sentence: event.sentence }
  }
}

/**
 * @param {FeedState} state @param {Told | undefined} feed @param {FeedState["kind"]} before @param {number} beforeMs @param {number} nowMs
 * @returns {FeedState}
 */
const heard = (state, feed, before, beforeMs, nowMs) => {
  const reached = Math.max(state.reached, feed?.position ?? 0)
  const kind = kindOf({ ...state, reached }, feed)
  return { ...state, reached, kind, sinceMs: kind === before ? beforeMs : nowMs }
}

/** @param {FeedState} state @param {Told | undefined} feed @returns {FeedState["kind"]} */
const kindOf = (state, feed) => {
  const isConnected = state.kind === "catchingUp" || state.kind === "live" || state.kind === "stale"
  if (!isConnected) return state.kind
  if (feed?.state === "stale") return "stale"
  if (state.kind === "stale" && feed?.state !== "live") return "stale"
  return state.reached >= state.goal ? "live" : "catchingUp"
}

/** @param {FeedState} state @param {(instant: number) => string} clock */
export const feedWords = ({ kind, sentence, sinceMs }, clock) => {
  switch (kind) {
    case "connecting":
      return "Connecting"
    case "catchingUp":
      return "Catching up"
    case "live":
      return "Live"
    case "stale":
      return `Stale since ${clock(sinceMs)}: news may be late, none is lost`
    case "cut":
      return `Cut off since ${clock(sinceMs)}, trying again`
    case "refused":
      return sentence
  }
}
