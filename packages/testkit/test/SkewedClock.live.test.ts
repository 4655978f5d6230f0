// A process's own idea of the time is off, and nobody else's.
import { spawnSync } from "node:child_process"
import { expect, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { skewedClock } from "../src/SkewedClock.ts"

it.live.each([3, -3])("a clock that is %i days off says so", (days) =>
  Effect.gen(function* () {
    const env = { ...process.env, ...(yield* skewedClock(Duration.days(days))) }
    const { stdout } = spawnSync(process.execPath, ["-p", "Date.now()"], { env, encoding: "utf8" })
    const offDays = (Number(stdout) - Date.now()) / Duration.toMillis(Duration.days(1))
    expect(offDays).toBeCloseTo(days, 2)
  })
)
