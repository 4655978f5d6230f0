// Where somebody writes: one draft per ticket, kept in the tab until the desk has answered for it. What became of it stands beside the
// field, in plain words; nothing is sent that nobody asked to send, and nothing is saved twice.
import { asksByItself, draftAfter, draftFrom, draftText, isHeld } from "/draft.js"
import { at, kept, setText, show } from "/elements.js"
import { freshId } from "/ids.js"

const paths = { public: "replies", internal: "notes" }
const sendWords = { public: "Send reply", internal: "Add note" }
const againMsMax = 10_000

export class ReplyView {
  #options
  #drafts = new Map()
  #shown = null

  /** `away` gives since when writing is refused, in words, or null; `onTyping` hears that somebody writes. */
  constructor(options) {
    this.#options = options
    at("text").addEventListener("input", ({ target }) => this.#typed(target.value))
    at("text").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return
      event.preventDefault()
      this.#press()
    })
    at("reply").addEventListener("change", ({ target }) => {
      if (target.name === "audience") this.#happened(this.#shown, { type: "addressed", audience: target.value })
    })
    at("reply").addEventListener("submit", (event) => {
      event.preventDefault()
      this.#press()
    })
    at("when-back").addEventListener("click", () => this.#wait())
  }

  open(ticketId) {
    this.#shown = ticketId
    setText(at("reply-state"), "")
    this.#render(this.#draftOf(ticketId))
  }

  /** The feed or a reading shows this message: if it is ours, it is saved. */
  seen(ticketId, messageId) {
    if (this.#draftOf(ticketId).commandId !== messageId) return
    this.#happened(ticketId, { type: "seen", messageId })
    this.#saved(ticketId)
  }

  /** What is known of the desk has changed. */
  refresh() {
    const words = this.#options.away()
    show(at("reply-away"), words !== null)
    setText(at("reply-away"), words === null ? "" : `Writing is refused since ${words}`)
    if (this.#shown !== null) this.#render(this.#draftOf(this.#shown))
  }

  #draftOf(ticketId) {
    return this.#drafts.get(ticketId) ?? draftFrom(kept.read(`draft-${ticketId}`))
  }

  #happened(ticketId, event) {
    const draft = draftAfter(this.#draftOf(ticketId), event)
    this.#drafts.set(ticketId, draft)
    const isKept = kept.write(`draft-${ticketId}`, draftText(draft))
    if (ticketId === this.#shown) this.#render(draft, isKept)
    return draft
  }

  #typed(text) {
    const { audience } = this.#happened(this.#shown, { type: "typed", text })
    this.#options.onTyping(this.#shown, text !== "", audience)
  }

  #press() {
    const { audience, phase, text } = this.#draftOf(this.#shown)
    if (phase === "sending") return
    if (text.trim() === "") {
      setText(at("reply-state"), "There is nothing to send yet.")
      return at("text").focus()
    }
    this.#options.onTyping(this.#shown, false, audience)
    this.#send(this.#shown)
  }

  #wait() {
    const ticketId = this.#shown
    const draft = this.#happened(ticketId, { type: "waits", isWaiting: !this.#draftOf(ticketId).isWaiting })
    if (draft.isWaiting) this.#later(ticketId, draft, 0)
  }

  async #send(ticketId) {
    const { audience, commandId, text } = this.#happened(ticketId, { type: "pressed", freshId: freshId() })
    const path = `/v1/tickets/${ticketId}/${paths[audience]}`
    const outcome = await this.#options.desk.command(path, { body: text }, commandId)
    // The feed may have shown it before the answer came.
    if (this.#draftOf(ticketId).commandId !== commandId) return
    const after = this.#happened(ticketId, { type: "answered", outcome })
    if (outcome.kind === "accepted") this.#saved(ticketId)
    else if (asksByItself(after)) this.#later(ticketId, after, outcome.retryAfterMs)
  }

  #later(ticketId, { attempts, commandId }, retryAfterMs) {
    const delayMs = Math.min(againMsMax, Math.max(retryAfterMs, 500 * 2 ** Math.min(attempts, 4)))
    const again = () => {
      const draft = this.#draftOf(ticketId)
      if (draft.commandId === commandId && asksByItself(draft)) this.#send(ticketId)
    }
    setTimeout(again, delayMs * (0.75 + Math.random() / 4))
  }

  #saved(ticketId) {
    if (ticketId === this.#shown) setText(at("reply-state"), "Saved.")
  }

  #render(draft, isKept = true) {
    const { audience, isWaiting, phase } = draft
    showField(draft)
    for (const choice of document.querySelectorAll('[name="audience"]')) {
      choice.checked = choice.value === audience
      choice.disabled = isHeld(draft)
    }
    setText(at("send"), buttonWords(draft))
    at("send").setAttribute("aria-disabled", String(phase === "sending"))
    show(at("when-back"), isWaiting || phase === "away" || phase === "unknown")
    setText(at("when-back"), phase === "unknown" ? "Ask when it is back" : "Send when it is back")
    at("when-back").setAttribute("aria-pressed", String(isWaiting))
    at("reply-state").dataset.phase = phase
    const words = stateWords(draft, this.#options.away())
    if (words !== null) setText(at("reply-state"), isKept ? words : `${words} This browser keeps no draft.`)
  }
}

const showField = (draft) => {
  const field = at("text")
  if (field.value !== draft.text) field.value = draft.text
  field.readOnly = isHeld(draft)
  field.setAttribute("aria-invalid", String(draft.phase === "refused"))
}

const buttonWords = ({ audience, isWaiting, phase }) => {
  if (phase === "sending") return isWaiting ? "Send now" : "Sending"
  if (phase === "unknown") return "Ask again"
  return isWaiting ? "Send now" : sendWords[audience]
}

/** Null: leave what stands there. What is tried again and again says the same all the while. */
const stateWords = (draft, away) => {
  const { isWaiting, phase, sentence, text } = draft
  if (phase === "sending" && !isWaiting) return "Sending."
  if (phase === "refused") return `Not saved. ${sentence}`
  if (phase === "unknown") {
    const next = asksByItself(draft) ? "Asking again." : "Ask again: it is never saved twice."
    return `Nobody knows yet whether it is saved. ${sentence} ${next}`
  }
  if (phase === "away" || phase === "sending") {
    const next = isWaiting ? "It is sent as soon as the desk can write again." : "Your text is kept; send it again."
    return away === null && !isWaiting ? `Not saved. ${sentence} ${next}` : `Not saved yet. ${next}`
  }
  return text === "" ? null : ""
}
