// A batch of commands from load to answer: what is known of each, what is decided, one append, and what became of it. A command whose
// aggregate was changed meanwhile goes round again on fresh state.
import { randomUUID } from "node:crypto"
import type { CommandAccepted } from "@holdfast/contracts/Command"
import { OutcomeUnknown, Overloaded, VersionConflict, WriteUnavailable } from "@holdfast/contracts/CommandErrors"
import { CorrelationId, EventId, StreamVersion } from "@holdfast/contracts/Ids"
import {
  type AppendOutcome,
  CommandStore,
  type Decided,
  type Known,
  type StoredAggregate
} from "@holdfast/database/CommandStore"
import { type Decision, decideCommand } from "@holdfast/domain/Aggregates"
import { Commands } from "@holdfast/resilience/Limits"
import type { RetryBudget } from "@holdfast/resilience/RetryBudget"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { type Cause, Clock, DateTime, Duration, Effect, Exit, Option, Result } from "effect"
import { answerAgain } from "./Idempotency.ts"
import type { Pending } from "./Pending.ts"

interface Ready {
  readonly pending: Pending
  readonly decided: Decided
}

/** Settles every command but those it gives back, which are to go round again. */
export const handleBatch = (batch: ReadonlyArray<Pending>, budget: RetryBudget) =>
  Effect.withSpan(run(batch, budget), "Commands.batch", {
    captureStackTrace: false,
    attributes: { commands: batch.length }
  })

const run = Effect.fnUntraced(function* (batch: ReadonlyArray<Pending>, budget: RetryBudget) {
  const store = yield* CommandStore
  budget.called(yield* Clock.currentTimeMillis, batch.filter(({ attempts }) => attempts === 0).length)
  const numbers: Numbers = new Map()
  return yield* Effect.gen(function* () {
    const known = yield* load(store, batch.filter(waits))
    yield* takeNumbers(store, batch.filter(waits), numbers)
    const now = DateTime.makeUnsafe(yield* Clock.currentTimeMillis)
    const ready = batch
      .filter(waits)
      .flatMap((pending) => decide(pending, known.get(pending), numbers.get(pending) ?? 0, now))
    return yield* append(store, ready, numbers, budget)
  }).pipe(
    Effect.catch((unavailable) => Effect.sync(() => refuseAll(batch, unavailable))),
    Effect.tapCause((cause) => Effect.sync(() => settleAll(batch, cause))),
    Effect.ensuring(Effect.suspend(() => giveBack(store, numbers)))
  )
})

/** Of the tickets that are to be opened; those that nobody can have got, so far. */
type Numbers = Map<Pending, number>

const giveBack = (store: CommandStore["Service"], numbers: Numbers): Effect.Effect<void> =>
  numbers.size === 0 ? Effect.void : store.giveBackNumbers([...numbers.values()])

const waits = (pending: Pending): boolean => pending.phase === "waiting"

/** A command that creates its aggregate is decided on nothing at first: the append finds out if that was wrong. */
const isOptimistic = ({ attempts, definition, issued }: Pending): boolean =>
  attempts === 0 && definition.streamIdField === "commandId" && (issued.meta.expectedVersion ?? 0) === 0

const load = Effect.fnUntraced(function* (store: CommandStore["Service"], batch: ReadonlyArray<Pending>) {
  const asked = batch.filter((pending) => !isOptimistic(pending))
  if (asked.length === 0) return new Map<Pending, Known>()
  const known = yield* store.load(
    asked.map(({ issued, streamId }) => ({
      principalId: issued.principal.id,
      commandId: issued.meta.commandId,
      streamId
    }))
  )
  return new Map(asked.flatMap((pending, index) => (known[index] === undefined ? [] : [[pending, known[index]]])))
})

const takeNumbers = (
  store: CommandStore["Service"],
  batch: ReadonlyArray<Pending>,
  numbers: Numbers
): Effect.Effect<void, Unavailable> => {
  const opening = batch.filter(({ issued }) => issued.command._tag === "OpenTicket")
  if (opening.length === 0) return Effect.void
  return Effect.map(store.takeNumbers(opening.length), (taken) => {
    for (const [index, pending] of opening.entries()) {
      const number = taken[index]
      if (number !== undefined) numbers.set(pending, number)
    }
  })
}

/** Nothing when it was settled: repeated, refused, or in conflict. */
const decide = (
  pending: Pending,
  known: Known | undefined,
  number: number,
  now: DateTime.Utc
): ReadonlyArray<Ready> => {
  if (known?.receipt) {
    pending.settle(answerAgain(known.receipt, pending.fingerprint))
    return []
  }
  const aggregate = sameKind(pending, known?.aggregate)
  const conflict = versionConflict(pending, aggregate)
  if (conflict !== null) {
    pending.settle(Exit.fail(conflict))
    return []
  }
  const { command, meta, principal } = pending.issued
  const decision = decideCommand(aggregate?.state ?? null, command, { principal, commandId: meta.commandId, number })
  if (Result.isFailure(decision)) {
    pending.settle(Exit.fail(decision.failure))
    return []
  }
  return [{ pending, decided: toDecided(pending, decision.success, aggregate, number, now) }]
}

/** An id of another kind of aggregate counts as absent; the store then refuses the append, for it is at another version. */
const sameKind = ({ definition }: Pending, aggregate: StoredAggregate | null | undefined): StoredAggregate | null =>
  aggregate?.streamType === definition.streamType ? aggregate : null

const versionConflict = ({ issued }: Pending, aggregate: StoredAggregate | null): VersionConflict | null => {
  const actualVersion = aggregate?.version ?? StreamVersion.make(0)
  const { expectedVersion } = issued.meta
  return expectedVersion === undefined || expectedVersion === actualVersion
    ? null
    : new VersionConflict({ expectedVersion, actualVersion })
}

const toDecided = (
  pending: Pending,
  { events, state, visibilities }: Decision,
  aggregate: StoredAggregate | null,
  number: number,
  occurredAt: DateTime.Utc
): Decided => {
  const { causationId, meta, principal } = pending.issued
  const decidedVersion = aggregate?.version ?? StreamVersion.make(0)
  const answer: CommandAccepted = {
    commandId: meta.commandId,
    streamId: pending.streamId,
    version: StreamVersion.make(decidedVersion + events.length),
    ...(number === 0 ? {} : { number }),
    replayed: false
  }
  return {
    principal,
    commandId: meta.commandId,
    fingerprint: pending.fingerprint,
    answer,
    streamType: pending.definition.streamType,
    streamId: pending.streamId,
    decidedVersion,
    state,
    events: events.flatMap((event, index) => {
      const visibility = visibilities[index]
      return visibility === undefined ? [] : [{ eventId: EventId.make(randomUUID()), event, visibility }]
    }),
    correlationId: meta.correlationId ?? CorrelationId.make(meta.commandId),
    causationId: Option.getOrNull(causationId),
    traceparent: pending.traceparent,
    occurredAt
  }
}

const append = Effect.fnUntraced(function* (
  store: CommandStore["Service"],
  ready: ReadonlyArray<Ready>,
  numbers: Numbers,
  budget: RetryBudget
) {
  const going = ready.filter(({ pending }) => waits(pending))
  if (going.length === 0) return []
  for (const { pending } of going) pending.phase = "appending"
  const outcomes = yield* keepingNumbers(going, numbers, store.append(going.map(({ decided }) => decided)))
  const nowMs = yield* Clock.currentTimeMillis
  return going.flatMap((one, index) => conclude(one, outcomes[index] ?? "refused", () => budget.take(nowMs)))
})

/** From the start of an append its numbers count as used, until it is certain of one that it was not written. */
const keepingNumbers = (
  going: ReadonlyArray<Ready>,
  numbers: Numbers,
  append: Effect.Effect<ReadonlyArray<AppendOutcome>, Unavailable>
) =>
  Effect.suspend(() => {
    const sent = going.map(({ pending }) => numbers.get(pending))
    for (const { pending } of going) numbers.delete(pending)
    const putBack = (isUnused: (index: number) => boolean) => {
      for (const [index, { pending }] of going.entries()) {
        const number = sent[index]
        if (number !== undefined && isUnused(index)) numbers.set(pending, number)
      }
    }
    return append.pipe(
      Effect.tap((outcomes) => Effect.sync(() => putBack((index) => isUnwritten(outcomes[index])))),
      Effect.tapError((unavailable) => Effect.sync(() => putBack(() => isUnwritten(unavailable))))
    )
  })

const isUnwritten = (outcome: AppendOutcome | undefined): boolean =>
  outcome instanceof Unavailable ? !outcome.mayHaveHappened : outcome !== undefined && outcome !== "appended"

/** The command itself when it is to go round again. */
const conclude = (
  { decided, pending }: Ready,
  outcome: AppendOutcome,
  mayRetry: () => boolean
): ReadonlyArray<Pending> => {
  if (outcome instanceof Unavailable) return refuseAll([pending], outcome)
  switch (outcome) {
    case "appended":
      pending.settle(Exit.succeed(decided.answer))
      return []
    case "busy":
      pending.settle(Exit.fail(new WriteUnavailable({ retryAfterMs: contendedRetryAfterMs })))
      return []
    case "refused":
      pending.settle(Exit.die(new Error(`${pending.definition.name} was refused by the database; see the log`)))
      return []
    case "receipt_existed":
    case "version_moved":
      return again(pending, mayRetry)
  }
}

/** A ticket that everybody changes at once: nothing was done, and its turn comes soon. */
const contendedRetryAfterMs = Duration.toMillis(Commands.contendedRetryAfter)

const again = (pending: Pending, mayRetry: () => boolean): ReadonlyArray<Pending> => {
  if (pending.isSettled) return []
  // Decided on nothing, it was a question whether it is new: a client that repeats it after an outage is answered in any case.
  const isRetry = !isOptimistic(pending)
  pending.attempts++
  if (pending.attempts > Commands.conflictRetriesMax || (isRetry && !mayRetry())) {
    pending.settle(Exit.fail(new WriteUnavailable({ retryAfterMs: contendedRetryAfterMs })))
    return []
  }
  pending.phase = "waiting"
  return [pending]
}

const refuseAll = (batch: ReadonlyArray<Pending>, unavailable: Unavailable): ReadonlyArray<Pending> => {
  for (const pending of batch) pending.settle(Exit.fail(refusalOf(pending, unavailable)))
  return []
}

/** A defect, or the end of the process: nobody is left waiting. */
const settleAll = (batch: ReadonlyArray<Pending>, cause: Cause.Cause<never>): void => {
  for (const pending of batch) pending.settle(Exit.failCause(cause))
}

/** Whether nothing was done, or nobody knows. */
const refusalOf = (
  { issued, phase }: Pending,
  { mayHaveHappened, reason, retryAfterMs }: Unavailable
): Overloaded | WriteUnavailable | OutcomeUnknown => {
  if (phase === "appending" && mayHaveHappened) {
    return new OutcomeUnknown({ commandId: issued.meta.commandId, retryAfterMs })
  }
  return reason === "saturated" ? new Overloaded({ retryAfterMs }) : new WriteUnavailable({ retryAfterMs })
}
