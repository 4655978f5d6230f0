// Receipts are kept for as long as a client may repeat a command, then removed, a bounded number at a time, so that the table neither
// grows for ever nor is locked for long. Any number of processes may sweep at once.
import { CommandStore } from "@holdfast/database/CommandStore"
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { Commands } from "@holdfast/resilience/Limits"
import { Effect, Layer } from "effect"

/** How many it removed. */
export const runOnce = CommandStore.use((store) => store.sweepReceipts(Commands.receiptSweepMax))

const loop = Effect.gen(function* () {
  while (true) {
    const removed = yield* runOnce
    if (removed < Commands.receiptSweepMax) yield* Effect.sleep(Commands.receiptSweepInterval)
  }
})

export const layer = Layer.effectDiscard(Effect.forkScoped(keepRunning("sweeping receipts", loop)))
