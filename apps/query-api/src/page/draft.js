// @ts-check
// What somebody writes to one ticket, until the desk has answered for it. Pure. A text gets its commandId when it is first sent and keeps it
// until an answer says what became of it, so asking again never doubles it; text that was not accepted is never thrown away.

/**
 * writing: nobody was asked. sending: under way. refused: nothing was done, and asking again changes nothing. away: nothing was done, the desk
 * cannot write just now. unknown: the answer was lost.
 * @typedef {{ text: string, audience: "public" | "internal", commandId: string | null, phase: "writing" | "sending" | "refused" | "away" | "unknown",
 *   sentence: string, isWaiting: boolean, attempts: number }} Draft
 * @typedef {{ kind: "accepted" } | { kind: "refused" | "away" | "unknown", sentence: string, retryAfterMs: number }} Outcome
 * @typedef {{ type: "typed", text: string } | { type: "addressed", audience: "public" | "internal" } | { type: "pressed", freshId: string } |
 *   { type: "answered", outcome: Outcome } | { type: "seen", messageId: string } | { type: "waits", isWaiting: boolean }} DraftEvent
 */

/** @type {Draft} */
export const emptyDraft = {
  text: "",
  audience: "public",
  commandId: null,
  phase: "writing",
  sentence: "",
  isWaiting: false,
  attempts: 0
}

/** While it is unknown what became of a text, it stays as it was sent: another text would be another message. @param {Draft} draft */
export const isHeld = ({ phase }) => phase === "sending" || phase === "unknown"

/** @param {Draft} draft @param {DraftEvent} event @returns {Draft} */
export const draftAfter = (draft, event) => {
  switch (event.type) {
    case "typed":
      return isHeld(draft) ? draft : { ...emptyDraft, audience: draft.audience, text: event.text }
    case "addressed":
      return isHeld(draft) ? draft : { ...emptyDraft, audience: event.audience, text: draft.text }
    case "pressed":
      return { ...draft, phase: "sending", commandId: draft.commandId ?? event.freshId, attempts: draft.attempts + 1 }
    case "seen":
      return event.messageId === draft.commandId ? { ...emptyDraft, audience: draft.audience } : draft
    case "waits":
      return { ...draft, isWaiting: event.isWaiting }
    case "answered":
      return answered(draft, event.outcome)
  }
}

/** @param {Draft} draft @param {Outcome} outcome @returns {Draft} */
const answered = (draft, outcome) => {
  // The feed was faster than the answer, or the text was seen to be there.
  if (draft.phase !== "sending") return draft
  if (outcome.kind === "accepted") return { ...emptyDraft, audience: draft.audience }
  const { kind, sentence } = outcome
  if (kind === "refused") return { ...draft, phase: kind, sentence, commandId: null, isWaiting: false }
  return { ...draft, phase: kind, sentence }
}

/**
 * A lost answer is asked for again without being told to, a few times: the person has sent this text. What was certainly not done is sent
 * again only where they said so.
 * @param {Draft} draft
 */
export const asksByItself = ({ attempts, isWaiting, phase }) =>
  isWaiting ? phase === "away" || phase === "unknown" : phase === "unknown" && attempts < attemptsMax

const attemptsMax = 4

/** @param {string | null} kept @returns {Draft} */
export const draftFrom = (kept) => {
  if (kept === null) return emptyDraft
  try {
    const read = { ...emptyDraft, ...JSON.parse(kept) }
    // Whoever was to hear the answer is gone; nobody asks again unless told to.
    const phase = read.phase === "sending" ? "unknown" : read.phase
    const sentence = read.phase === "sending" ? reloaded : read.sentence
    return { ...read, phase, sentence, isWaiting: false, attempts: attemptsMax }
  } catch {
    return emptyDraft
  }
}

const reloaded = "This page was opened again before an answer came."

/** @param {Draft} draft */
export const draftText = ({ audience, commandId, phase, sentence, text }) =>
  text === "" ? null : JSON.stringify({ text, audience, commandId, phase, sentence })
