// Whatever comes, in whatever order: retries never exceed their share of the calls, what a second allows and what was saved; and
// what is within the share is never refused.
import { expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { RetryBudget as Limits } from "../src/Limits.ts"
import { makeRetryBudget } from "../src/RetryBudget.ts"

const Step = Schema.Union([
  Schema.Struct({ _tag: Schema.Literal("calls"), count: Schema.Literals([1, 7, 40, 500]) }),
  Schema.Struct({ _tag: Schema.Literal("retries"), count: Schema.Literals([1, 5, 60, 400]) }),
  Schema.Struct({ _tag: Schema.Literal("wait"), ms: Schema.Literals([0, 3, 90, 1000, 20_000]) })
])

it.prop(
  "retries stay within their share, and what is within it is given",
  [Schema.Array(Step).check(Schema.isMaxLength(50))],
  ([steps]) => {
    const budget = makeRetryBudget(0)
    let nowMs = 0
    let earned: number = Limits.burst
    let saved: number = Limits.burst
    let given = 0
    let isRight = true
    const earn = (tokens: number) => {
      earned += tokens
      saved = Math.min(Limits.burst, saved + tokens)
    }
    for (const step of steps) {
      if (step._tag === "wait") {
        nowMs += step.ms
        earn((step.ms / 1000) * Limits.perSecond)
      } else if (step._tag === "calls") {
        budget.called(nowMs, step.count)
        earn(step.count * Limits.ratio)
      } else {
        for (let i = 0; i < step.count; i++) {
          const isGiven = budget.take(nowMs)
          if (isGiven) {
            given++
            saved--
          }
          isRight &&= (isGiven || saved < 1 + 1e-6) && given <= earned + 1e-6
        }
      }
    }
    expect(isRight).toBe(true)
  },
  { arbitrary: { runs: 500 } }
)

it("a storm of failures costs a tenth more, not twice as much", () => {
  const budget = makeRetryBudget(0)
  let retries = 0
  // A thousand calls a second for a minute, each of which fails and would be tried again.
  for (let call = 0; call < 60_000; call++) {
    budget.called(call)
    if (budget.take(call)) retries++
  }
  expect(retries).toBeLessThanOrEqual(60_000 * Limits.ratio + 60 * Limits.perSecond + Limits.burst)
})

it("a clock that goes back earns nothing and loses nothing", () => {
  const budget = makeRetryBudget(10_000)
  for (let i = 0; i < Limits.burst; i++) expect(budget.take(10_000)).toBe(true)
  expect(budget.take(0)).toBe(false)
  expect(budget.take(10_000 + 1000 / Limits.perSecond)).toBe(true)
})
