// The rows of the failure matrix that queries answer for: each dependency refused, reset, hung and slow, alone and together, then back.

import type { Fault } from "@holdfast/testkit/Faults"
import { fullHistory, principal } from "@holdfast/testkit/History"
import { Duration, Effect } from "effect"
import { describe, expect, it } from "vitest"
import { type LiveDesk, liveDesk, type Told } from "./LiveDesk.ts"

const ada = principal("agent", "ada", "Ada")
const history = fullHistory()
const ticketId = history.envelopes[0]?.streamId ?? ""
const query = `{ ticket(id: "${ticketId}") { subject } tickets(list: all) { nodes { number } } }`

const onDesk = <A>(work: (desk: LiveDesk) => Effect.Effect<A>) =>
  Effect.runPromise(Effect.scoped(Effect.flatMap(Effect.orDie(liveDesk(history.envelopes)), work)))

const faults: ReadonlyArray<Fault> = [
  { _tag: "Refuse" },
  { _tag: "Reset" },
  { _tag: "Hang" },
  { _tag: "LoseAnswers" },
  { _tag: "Delay", duration: Duration.seconds(2) }
]

const sourceOf = ({ errors, extensions }: Told) =>
  errors === undefined ? extensions?.freshness?.source : errors[0]?.extensions
const readUnavailable = { code: "READ_UNAVAILABLE", retryAfterMs: expect.any(Number) }

/** Asked until it is so: the breaker gives a rest before it lets anybody through again. */
const until = (desk: LiveDesk, source: string) =>
  desk
    .ask(ada, query)
    .pipe(
      Effect.delay("50 millis"),
      Effect.repeat({ until: (told) => sourceOf(told) === source }),
      Effect.map(sourceOf),
      Effect.timeoutOrElse({ duration: "30 seconds", orElse: () => Effect.succeed("it did not heal") })
    )

describe("queries", () => {
  it.each(faults)(
    "are answered from the cache, marked, while the read database is in $_tag, and live again after",
    async (fault) => {
      const seen = await onDesk((desk) =>
        Effect.gen(function* () {
          const before = yield* desk.askLive(ada, query)
          yield* desk.database.set(fault)
          const during = yield* Effect.forEach(Array.from({ length: 20 }), () => desk.ask(ada, query), {
            concurrency: 5
          })
          yield* desk.database.set({ _tag: "Pass" })
          return { before, during, after: yield* until(desk, "live") }
        })
      )
      expect(sourceOf(seen.before)).toBe("live")
      expect(seen.during.map(sourceOf)).toEqual(seen.during.map(() => "cached"))
      expect(seen.during[0]?.data).toEqual(seen.before.data)
      expect(seen.after).toBe("live")
    }
  )

  it.each(faults)("do not notice that Redis is in $_tag", async (fault) => {
    const during = await onDesk((desk) =>
      Effect.gen(function* () {
        yield* desk.askLive(ada, query)
        yield* desk.redis.set(fault)
        return yield* Effect.forEach(Array.from({ length: 10 }), () => desk.ask(ada, query))
      })
    )
    expect(during.map(sourceOf)).toEqual(during.map(() => "live"))
  })

  it("are refused in plain words while both are away, and heal one after the other", async () => {
    const seen = await onDesk((desk) =>
      Effect.gen(function* () {
        yield* desk.database.set({ _tag: "Refuse" })
        yield* desk.redis.set({ _tag: "Refuse" })
        const refused = yield* Effect.forEach(Array.from({ length: 10 }), () => desk.ask(ada, query))
        const me = yield* desk.ask(ada, `{ me { id } }`)
        yield* desk.redis.set({ _tag: "Pass" })
        const cached = yield* until(desk, "cached")
        yield* desk.database.set({ _tag: "Pass" })
        return { refused, me, cached, live: yield* until(desk, "live") }
      })
    )
    expect(seen.refused.map(sourceOf)).toEqual(seen.refused.map(() => readUnavailable))
    expect(seen.refused[0]?.data).toEqual({ ticket: null, tickets: null })
    expect(seen.me.data).toEqual({ me: { id: "ada" } })
    expect([seen.cached, seen.live]).toEqual(["cached", "live"])
  })
})
