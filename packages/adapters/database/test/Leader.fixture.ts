// A process that leads the relay and gives positions until it is killed. Says "leading" once it leads.
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { Effect, Redacted } from "effect"
import { EventLog } from "../src/EventLog.ts"
import { coreOn } from "./CoreForTests.ts"

const url = Redacted.make(process.argv[2] ?? "")

const lead = Effect.gen(function* () {
  const log = yield* EventLog
  const assigning = keepRunning("assigning", Effect.forever(Effect.andThen(log.assignPositions(3), Effect.yieldNow)))
  return yield* log.lead(
    "relay",
    Effect.andThen(
      Effect.sync(() => process.stdout.write("leading\n")),
      assigning
    )
  )
})

await Effect.runPromise(Effect.provide(lead, coreOn(url)))
