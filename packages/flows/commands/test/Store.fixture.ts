// A command store in memory with the promises of the real one, and a place to put a fault or a pause before each append.

import { StreamVersion } from "@holdfast/contracts/Ids"
import {
  type AppendOutcome,
  type CommandKey,
  CommandStore,
  type Decided,
  type Known,
  type StoredAggregate
} from "@holdfast/database/CommandStore"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Effect, Layer } from "effect"

export interface StoreControl {
  /** Runs before an append is done; its failure is the append's. */
  beforeAppend: Effect.Effect<void, Unavailable>
  /** Runs after an append was done, before its answer; its failure loses the answer. */
  afterAppend: Effect.Effect<void, Unavailable>
  /** What each command of an append comes to instead of being done, or null. */
  outcome: ((decided: Decided) => AppendOutcome) | null
  beforeLoad: Effect.Effect<void, Unavailable>
  /** How many commands each append was given. */
  readonly batches: Array<number>
  readonly events: Array<string>
  /** Everything that an append was given. */
  readonly decided: Array<Decided>
  /** Somebody else changes the aggregate. */
  readonly touch: (streamId: string) => void
}

export const makeStore = () => {
  const receipts = new Map<string, Decided>()
  const aggregates = new Map<string, StoredAggregate>()
  let lastNumber = 0
  const givenBack: Array<number> = []
  const control: StoreControl = {
    beforeAppend: Effect.void,
    afterAppend: Effect.void,
    outcome: null,
    beforeLoad: Effect.void,
    batches: [],
    events: [],
    decided: [],
    touch: (streamId) => {
      const found = aggregates.get(streamId)
      if (found !== undefined) aggregates.set(streamId, { ...found, version: StreamVersion.make(found.version + 1) })
    }
  }
  const receiptKey = (principalId: string, commandId: string) => `${principalId} ${commandId}`

  const known = ({ commandId, principalId, streamId }: CommandKey): Known => {
    const receipt = receipts.get(receiptKey(principalId, commandId))
    return {
      receipt: receipt === undefined ? null : { fingerprint: receipt.fingerprint, answer: receipt.answer },
      aggregate: aggregates.get(streamId) ?? null
    }
  }

  const appendOne = (decided: Decided): AppendOutcome => {
    if (control.outcome !== null) return control.outcome(decided)
    const key = receiptKey(decided.principal.id, decided.commandId)
    if ((aggregates.get(decided.streamId)?.version ?? 0) !== decided.decidedVersion) return "version_moved"
    if (receipts.has(key)) return "receipt_existed"
    receipts.set(key, decided)
    control.events.push(...decided.events.map(({ event }) => event._tag))
    const version = StreamVersion.make(decided.decidedVersion + decided.events.length)
    if (decided.state !== null)
      aggregates.set(decided.streamId, { streamType: decided.streamType, version, state: decided.state })
    return "appended"
  }

  const layer = Layer.succeed(
    CommandStore,
    CommandStore.of({
      load: (keys) =>
        Effect.andThen(
          Effect.suspend(() => control.beforeLoad),
          Effect.sync(() => keys.map(known))
        ),
      append: (batch) =>
        Effect.suspend(() => {
          control.batches.push(batch.length)
          control.decided.push(...batch)
          return Effect.suspend(() => control.beforeAppend).pipe(
            Effect.andThen(Effect.sync(() => batch.map(appendOne))),
            Effect.tap(() => control.afterAppend)
          )
        }),
      takeNumbers: (count) => Effect.sync(() => Array.from({ length: count }, () => givenBack.shift() ?? ++lastNumber)),
      giveBackNumbers: (numbers) =>
        Effect.sync(() => {
          givenBack.push(...numbers)
          givenBack.sort((left, right) => left - right)
        }),
      sweepReceipts: () => Effect.succeed(0)
    })
  )
  return { control, layer }
}
