// One event through one consumer: attempts under a deadline until it is handled or parked. While what the consumer needs is away the
// event waits as long as that lasts; an event that fails by itself is given up after some attempts.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Parking } from "@holdfast/database/ParkedEvents"
import { deadline } from "@holdfast/resilience/Deadline"
import { backoff, whileAway } from "@holdfast/resilience/KeepRunning"
import { Consumer as Limits } from "@holdfast/resilience/Limits"
import type { RetryBudget } from "@holdfast/resilience/RetryBudget"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Cause, Clock, Duration, Effect, Exit, Semaphore, Tracer } from "effect"
import type { Consumer, Poison } from "./Consumer.ts"
import type { ConsumerMetrics } from "./ConsumerMetrics.ts"

export type Settle<R> = (envelope: Envelope) => Effect.Effect<"handled" | "parked", never, R | Parking>

export const makeSettle =
  <R>(consumer: Consumer<R>, metrics: ConsumerMetrics, turns: Semaphore.Semaphore, budget: RetryBudget): Settle<R> =>
  (envelope) =>
    Effect.gen(function* () {
      let failures = 0
      budget.called(yield* Clock.currentTimeMillis)
      for (let attempt = 0; ; attempt++) {
        // The turn is given back between attempts: an event that waits holds up no other stream.
        const outcome = yield* Semaphore.withPermit(turns, attemptOnce(consumer, envelope))
        if (outcome._tag === "Handled") return yield* Effect.as(metrics.handled, "handled" as const)
        if (outcome._tag === "Failed") failures++
        if (outcome._tag === "Poison" || failures >= Limits.attemptsMax) {
          return yield* park(consumer, metrics, envelope, outcome.detail, attempt + 1)
        }
        yield* metrics.retried
        if (attempt === 0) yield* Effect.logWarning(`event is tried again: ${outcome.detail}`)
        yield* Effect.sleep(yield* pauseAfter(outcome, attempt, budget))
      }
    }).pipe(Effect.annotateLogs(annotationsOf(envelope)))

/** Our own guard said no: nothing was sent, so a repeat is no load on anybody. */
const unsent: ReadonlySet<Unavailable["reason"]> = new Set<Unavailable["reason"]>(["breaker_open", "saturated"])

// Beyond the budget an event is not given up, it only waits longer. What was not sent does not count.
const pauseAfter = Effect.fnUntraced(function* (outcome: Outcome, attempt: number, budget: RetryBudget) {
  const wasSent = outcome._tag !== "Away" || !unsent.has(outcome.error.reason)
  const isWithin = !wasSent || budget.take(yield* Clock.currentTimeMillis)
  const min = isWithin ? Limits.backoffMin : Limits.backoffMax
  return yield* backoff(attempt, min, wasSent ? Limits.backoffMax : Limits.unsentBackoffMax)
})

const park = Effect.fnUntraced(function* <R>(
  consumer: Consumer<R>,
  metrics: ConsumerMetrics,
  envelope: Envelope,
  reason: string,
  attempts: number
) {
  const parking = yield* Parking
  yield* whileAway(parking.park(consumer.group, envelope, reason, attempts))
  yield* metrics.parked
  yield* Effect.logError(`event is parked, and the later ones of its stream with it: ${reason}`)
  return "parked" as const
})

export type Outcome =
  | { readonly _tag: "Handled" }
  | { readonly _tag: "Away"; readonly detail: string; readonly error: Unavailable }
  | { readonly _tag: "Poison"; readonly detail: string }
  | { readonly _tag: "Failed"; readonly detail: string }

/** One attempt, traced as a child of what caused the event. */
export const attemptOnce = <R>(consumer: Consumer<R>, envelope: Envelope): Effect.Effect<Outcome, never, R> =>
  consumer
    .handle(envelope)
    .pipe(
      deadline(Limits.handleDeadline),
      Effect.withSpan(`Consumer.${consumer.group}`, spanOptions(envelope)),
      Effect.annotateLogs(annotationsOf(envelope)),
      Effect.exit,
      Effect.map(toOutcome)
    )

const toOutcome = (exit: Exit.Exit<void, Unavailable | Poison | Cause.TimeoutError>): Outcome => {
  if (Exit.isSuccess(exit)) return { _tag: "Handled" }
  const [reason] = exit.cause.reasons
  if (reason?._tag !== "Fail") return { _tag: "Failed", detail: Cause.pretty(exit.cause) }
  const { error } = reason
  if (error instanceof Unavailable) return { _tag: "Away", detail: `${error.dependency} ${error.reason}`, error }
  if (error._tag === "Poison") return { _tag: "Poison", detail: error.detail }
  return { _tag: "Failed", detail: `not handled within ${Duration.toMillis(Limits.handleDeadline)} ms` }
}

const annotationsOf = (envelope: Envelope) => ({
  eventId: envelope.eventId,
  position: envelope.position,
  streamId: envelope.streamId,
  commandId: envelope.commandId,
  correlationId: envelope.correlationId
})

const spanOptions = (envelope: Envelope) => {
  const parent = parentOf(envelope.traceparent)
  const attributes = { ...annotationsOf(envelope), type: envelope.event._tag }
  // Where it is made says nothing that its name does not, and costs more than the rest of it.
  const captureStackTrace = false
  return parent === null ? { attributes, captureStackTrace, root: true } : { attributes, captureStackTrace, parent }
}

const parentOf = (traceparent: string | null): Tracer.ExternalSpan | null => {
  const [, traceId, spanId, flags] = traceparent?.split("-") ?? []
  if (traceId === undefined || spanId === undefined) return null
  return Tracer.externalSpan({ traceId, spanId, sampled: (Number.parseInt(flags ?? "00", 16) & 1) === 1 })
}
