// What several requests at once are answered with: one object, made of one read for readers who see the same. What a selection makes of it is
// written once for all of them, and forgotten with the object.
import { JsonText } from "./JsonText.ts"

export class OneReadForMany {
  readonly #texts = new Map<object, JsonText>()

  /** `write` makes the value that the selection shows. Bounded by the kinds of requests that share this object. */
  textFor(selection: object, write: () => unknown): JsonText {
    const held = this.#texts.get(selection)
    if (held !== undefined) return held
    const text = new JsonText(JSON.stringify(write()))
    this.#texts.set(selection, text)
    return text
  }
}
