// The command bus: who may, who gets in, what is decided, and that it is durable, behind one call with one deadline. REST, typed RPC,
// gRPC and the desk's own reactions all end here.
import { OutcomeUnknown, WriteUnavailable } from "@holdfast/contracts/CommandErrors"
import { CommandBus, type IssuedCommand } from "@holdfast/contracts/wire/CommandBus"
import { CommandStore } from "@holdfast/database/CommandStore"
import { Commands } from "@holdfast/resilience/Limits"
import { Deferred, Effect, Exit, Layer } from "effect"
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
    const batcher = yield* makeBatcher<Pending>({
      lanes: Commands.batchesAtOnceMax,
      sizeMax: Commands.batchMax,
      keyOf: (pending) => pending.streamId,
      run: (batch) => Effect.provideService(handleBatch(batch), CommandStore, store)
    })

    const execute = Effect.fn("CommandBus.execute")(function* (issued: IssuedCommand) {
      const { command, meta, principal } = issued
      const span = yield* Effect.orDie(Effect.currentSpan)
      span.attribute("command", command._tag)
      span.attribute("commandId", meta.commandId)
      yield* authorize(principal, command)
      const place = yield* admission.enter(principal, meta.commandId)
      const pending = new Pending(issued, `00-${span.traceId}-${span.spanId}-01`, place.leave)
      yield* batcher.submit(pending)
      return yield* answered(pending)
    })

    return CommandBus.of({ execute: (issued) => measured(issued.command._tag, execute(issued)) })
  })
)

/** The bus, with the budgets of principals kept in this process. */
export const layer = layerNoLimiter.pipe(Layer.provide(RateLimiter.layer), Layer.provide(RateLimiter.layerStoreMemory))

/** A caller who left, or waited long enough, settles what has not been sent; what has been sent is nobody's to take back. */
const answered = (pending: Pending) =>
  Deferred.await(pending.answer).pipe(
    Effect.timeoutOrElse({
      duration: Commands.requestDeadline,
      orElse: () => Effect.suspend(() => Effect.fail(tooLate(pending)))
    }),
    Effect.onExit(() =>
      Effect.sync(() => {
        if (pending.phase === "waiting") pending.settle(Exit.interrupt())
      })
    )
  )

const tooLateRetryAfterMs = 1000

const tooLate = ({ issued, phase }: Pending) =>
  phase === "appending"
    ? new OutcomeUnknown({ commandId: issued.meta.commandId, retryAfterMs: tooLateRetryAfterMs })
    : new WriteUnavailable({ retryAfterMs: tooLateRetryAfterMs })
