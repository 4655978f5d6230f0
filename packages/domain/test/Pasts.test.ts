// The random pasts are worth their name: among a few of them everything happens that can happen.
import { expect, it } from "@effect/vitest"
import { eventTypes } from "@holdfast/contracts/EventVersions"
import { Arbitrary, Effect } from "effect"
import { pastOf, Steps } from "./Pasts.ts"

it.effect("every event type occurs, most of them often", () =>
  Effect.gen(function* () {
    const samples = yield* Arbitrary.sampleEffect(Arbitrary.schema(Steps), { count: 200, seed: 1 })
    const happened = samples.flatMap(pastOf).map(({ event }) => event._tag)
    expect(new Set(happened)).toEqual(new Set(eventTypes))
    expect(happened.length).toBeGreaterThan(1000)
  })
)
