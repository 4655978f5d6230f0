// The command bus: who may, who gets in, what is decided, and that it is durable, behind one call with one deadline. REST, typed RPC,
// gRPC and the desk's own reactions all end here.
import { OutcomeUnknown, WriteUnavailable } from "@holdfast/contracts/CommandErrors"
import { CommandBus, type IssuedCommand } from "@holdfast/contracts/wire/CommandBus"
import { CommandStore } from "@holdfast/database/CommandStore"
import { Commands } from "@holdfast/resilience/Limits"
import { makeRetryBudget } from "@holdfast/resilience/RetryBudget"
import { Context, Deferred, Duration, Effect, Exit, Layer, Tracer } from "effect"
import { RateLimiter } from "effect/persistence"
import { makeAdmission } from "./Admission.ts"
import { authorize } from "./Authorize.ts"
import { makeBatcher } from "./Batcher.ts"
import { measured } from "./CommandMetrics.ts"
import { handleBatch } from "./HandleBatch.ts"
import { Pending } from "./Pending.ts"

const layerNoLimiter = Layer.effect(
  CommandBus,
  Effect.gen(function* () {
    const store = yield* CommandStore
    const admission = yield* makeAdmission
    // A batch belongs to no caller's trace, so its spans are for a collector alone.
    const hasCollector = (yield* Tracer.Tracer) !== Tracer.nativeTracer
    const budget = makeRetryBudget(0)
    const batcher = yield* makeBatcher<Pending>({
      lanes: Commands.batchesAtOnceMax,
      sizeMax: Commands.batchMax,
      keyOf: (pending) => pending.streamId,
      run: (batch) =>
        Effect.provideService(handleBatch(batch, budget), CommandStore, store).pipe(
          Effect.withTracerEnabled(hasCollector)
        )
    })

    const inSpan = Effect.fnUntraced(function* (issued: IssuedCommand, span: Tracer.Span) {
      const { command, meta, principal } = issued
      span.attribute("command", command._tag)
      span.attribute("commandId", meta.commandId)
      yield* authorize(principal, command)
      const place = yield* admission.enter(principal, meta.commandId)
      const pending = new Pending(issued, traceparentOf(span), place.leave)
      yield* batcher.submit(pending)
      return yield* answered(pending)
    })
    const execute = (issued: IssuedCommand) =>
      Effect.useSpan("CommandBus.execute", (span) =>
        Effect.withParentSpan(inSpan(issued, span), span, { captureStackTrace: false })
      )

    return CommandBus.of({ execute: (issued) => measured(issued.command._tag, execute(issued)) })
  })
)

/** The bus, with the budgets of principals kept in this process. */
export const layer = layerNoLimiter.pipe(Layer.provide(RateLimiter.layer), Layer.provide(RateLimiter.layerStoreMemory))

/** What is written is part of its caller's trace, if there is one. */
const traceparentOf = (span: Tracer.Span): string | null =>
  Context.get(span.annotations, Tracer.DisablePropagation) ? null : `00-${span.traceId}-${span.spanId}-01`

/** A caller who left, or waited long enough, settles what has not been sent; what has been sent is nobody's to take back. */
const answered = (pending: Pending) =>
  Effect.flatMap(Effect.forkChild(lateAnswer(pending), { startImmediately: true }), (timer) =>
    Effect.onExit(Deferred.await(pending.answer), () =>
      Effect.sync(() => {
        timer.interruptUnsafe()
        if (pending.phase === "waiting") pending.settle(Exit.interrupt())
      })
    )
  )

/** Tells the caller; the command keeps its place until it is settled. */
const lateAnswer = (pending: Pending) =>
  Effect.andThen(
    Effect.sleep(Commands.requestDeadline),
    Effect.suspend(() => Deferred.fail(pending.answer, tooLate(pending)))
  )

const tooLateRetryAfterMs = Duration.toMillis(Commands.awayRetryAfter)

const tooLate = ({ issued, phase }: Pending) =>
  phase === "appending"
    ? new OutcomeUnknown({ commandId: issued.meta.commandId, retryAfterMs: tooLateRetryAfterMs })
    : new WriteUnavailable({ retryAfterMs: tooLateRetryAfterMs })
