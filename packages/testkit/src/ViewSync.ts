// View sync law: a view with later events applied equals the view folded from the start, wherever the events are split and however
// often they are delivered again. (After Zulip's event system, where a pushed change must equal a fresh read.)
import { expect } from "vitest"

export type Apply<View, Event> = (view: View | null, event: Event) => View | null

export const fold = <View, Event>(
  apply: Apply<View, Event>,
  events: ReadonlyArray<Event>,
  from: View | null = null
): View | null => events.reduce(apply, from)

/** Holds the law to these events at every split, across a store that keeps views as `stored` does. */
export const expectViewSync = <View, Event>(
  apply: Apply<View, Event>,
  events: ReadonlyArray<Event>,
  stored: (view: View) => View = (view) => view
): void => {
  const whole = fold(apply, events)
  for (let split = 0; split <= events.length; split++) {
    const early = fold(apply, events.slice(0, split))
    const kept = early === null ? null : stored(early)
    expect(fold(apply, events.slice(split), kept), `split after ${split}`).toEqual(whole)
    expect(fold(apply, events.slice(0, split), whole), `the first ${split} delivered again`).toEqual(whole)
  }
  expect(
    fold(
      apply,
      events.flatMap((event) => [event, event])
    ),
    "each delivered twice"
  ).toEqual(whole)
}
