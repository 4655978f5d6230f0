// What somebody writes, until the desk has answered for it: never lost, never saved twice, never sent unasked.
import { describe, expect, it } from "vitest"
import { asksByItself, type Draft, draftAfter, draftFrom, draftText, emptyDraft, isHeld } from "../src/page/draft.js"

const typed = draftAfter(emptyDraft, { type: "typed", text: "Hello" })
const press = (draft: Draft, freshId = "one") => draftAfter(draft, { type: "pressed", freshId })
const answer = (draft: Draft, kind: "refused" | "away" | "unknown") =>
  draftAfter(draft, { type: "answered", outcome: { kind, sentence: "Why.", retryAfterMs: 1 } })

describe("a text", () => {
  it("gets its commandId when it is first sent, and keeps it until an answer says what became of it", () => {
    for (const kind of ["away", "unknown"] as const) {
      expect(press(answer(press(typed), kind), "two").commandId).toBe("one")
    }
    expect(press(answer(press(typed), "refused"), "two").commandId).toBe("two")
  })

  it("is gone once it is accepted, or seen, whichever comes first", () => {
    const sending = press(draftAfter(typed, { type: "addressed", audience: "internal" }))
    expect(draftAfter(sending, { type: "answered", outcome: { kind: "accepted" } })).toEqual({
      ...emptyDraft,
      audience: "internal"
    })
    const seen = draftAfter(sending, { type: "seen", messageId: "one" })
    expect(seen.text).toBe("")
    expect(answer(seen, "unknown")).toEqual(seen)
    expect(draftAfter(sending, { type: "seen", messageId: "other" })).toEqual(sending)
  })

  it("stays as it was sent while nobody knows what became of it, and is free again when nothing was done", () => {
    for (const held of [press(typed), answer(press(typed), "unknown")]) {
      expect(isHeld(held)).toBe(true)
      expect(draftAfter(held, { type: "typed", text: "Other" })).toEqual(held)
      expect(draftAfter(held, { type: "addressed", audience: "internal" })).toEqual(held)
    }
    for (const kind of ["away", "refused"] as const) {
      const changed = draftAfter(answer(press(typed), kind), { type: "typed", text: "Other" })
      expect(changed).toMatchObject({ text: "Other", commandId: null, phase: "writing" })
    }
  })

  it("that was certainly not saved is sent again only if the person says so", () => {
    const away = answer(press(typed), "away")
    expect(asksByItself(away)).toBe(false)
    expect(asksByItself(draftAfter(away, { type: "waits", isWaiting: true }))).toBe(true)
    expect(asksByItself(answer(press(typed), "refused"))).toBe(false)
  })

  it("whose answer was lost is asked for again by itself, a few times", () => {
    let draft = typed
    let asked = 0
    for (draft = answer(press(draft), "unknown"); asksByItself(draft); draft = answer(press(draft), "unknown")) asked++
    expect(asked).toBe(3)
    expect(asksByItself(draftAfter(draft, { type: "waits", isWaiting: true }))).toBe(true)
  })
})

describe("a draft that is kept", () => {
  it("comes back as it was, with its commandId", () => {
    const away = answer(press(typed), "away")
    expect(draftFrom(draftText(away))).toMatchObject({ text: "Hello", commandId: "one", phase: "away" })
  })

  it("that was under way is of unknown outcome, and asks for nothing by itself", () => {
    const reopened = draftFrom(draftText(press(typed)))
    expect(reopened).toMatchObject({ text: "Hello", commandId: "one", phase: "unknown" })
    expect(asksByItself(reopened)).toBe(false)
  })

  it("is not kept when there is nothing, and is nothing when it cannot be read", () => {
    expect(draftText(emptyDraft)).toBeNull()
    expect(draftFrom(null)).toEqual(emptyDraft)
    expect(draftFrom("{")).toEqual(emptyDraft)
  })
})
