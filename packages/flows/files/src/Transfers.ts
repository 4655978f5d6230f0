// How much one client and all together may take: requests under way, and bytes a second. Bandwidth is shared by token buckets with a
// tenth of a second in them; whoever finds one empty waits, and the wait reaches the sender through TCP, so nothing is buffered.
import type { PrincipalId } from "@holdfast/contracts/Ids"
import { Files } from "@holdfast/resilience/Limits"
import { ByteSize, Clock, Context, Effect, Layer, Schema, type Scope } from "effect"

export class TooManyTransfers extends Schema.TaggedError<TooManyTransfers>()("TooManyTransfers", {
  /** The client's own, or those of all together. */
  whose: Schema.Literals(["client", "all"])
}) {}

export interface TransferLimits {
  /** Of all clients together. */
  readonly underWayMax: number
  readonly perPrincipalMax: number
  readonly bytesPerSecondMax: number
  readonly bytesPerSecondPerPrincipalMax: number
}

export const limitsDefault: TransferLimits = {
  underWayMax: Files.transfersMax,
  perPrincipalMax: Files.transfersPerPrincipalMax,
  bytesPerSecondMax: ByteSize.toNumberUnsafe(Files.bytesPerSecondMax),
  bytesPerSecondPerPrincipalMax: ByteSize.toNumberUnsafe(Files.bytesPerSecondPerPrincipalMax)
}

export class Transfers extends Context.Service<
  Transfers,
  {
    /** Counts as one of the principal's transfers while the scope is open. */
    admit(principalId: PrincipalId): Effect.Effect<void, TooManyTransfers, Scope.Scope>
    /** Waits until so many bytes more may pass. */
    pass(principalId: PrincipalId, sizeBytes: number): Effect.Effect<void>
  }
>()("@holdfast/files/Transfers") {}

export const layer = (limits: TransferLimits = limitsDefault) =>
  Layer.sync(Transfers, () => {
    const clients = new Map<PrincipalId, Client>()
    const total = emptyBucket(limits.bytesPerSecondMax)
    let underWay = 0
    return {
      admit: (principalId) =>
        Effect.acquireRelease(
          Effect.suspend(() => {
            const client = clients.get(principalId) ?? newClient(limits)
            if (client.underWay >= limits.perPrincipalMax) return Effect.fail(new TooManyTransfers({ whose: "client" }))
            if (underWay >= limits.underWayMax) return Effect.fail(new TooManyTransfers({ whose: "all" }))
            underWay++
            client.underWay++
            clients.set(principalId, client)
            return Effect.succeed(client)
          }),
          (client) =>
            Effect.sync(() => {
              underWay--
              client.underWay--
              if (client.underWay === 0) clients.delete(principalId)
            })
        ),
      pass: Effect.fnUntraced(function* (principalId, sizeBytes) {
        const nowMs = yield* Clock.currentTimeMillis
        const own = clients.get(principalId)?.bucket
        const waitMs = Math.max(take(total, sizeBytes, nowMs), own === undefined ? 0 : take(own, sizeBytes, nowMs))
        if (waitMs > 0) yield* Effect.sleep(waitMs)
      })
    }
  })

interface Client {
  underWay: number
  readonly bucket: Bucket
}

const newClient = (limits: TransferLimits): Client => ({
  underWay: 0,
  bucket: emptyBucket(limits.bytesPerSecondPerPrincipalMax)
})

interface Bucket {
  readonly bytesPerSecond: number
  /** When everything that was let through is paid for. */
  paidUntilMs: number
}

const burstMs = 100
const emptyBucket = (bytesPerSecond: number): Bucket => ({
  bytesPerSecond,
  paidUntilMs: Number.NEGATIVE_INFINITY
})

/** How long to wait for what was just taken. */
const take = (bucket: Bucket, sizeBytes: number, nowMs: number): number => {
  bucket.paidUntilMs = Math.max(bucket.paidUntilMs, nowMs - burstMs) + (sizeBytes * 1000) / bucket.bytesPerSecond
  return Math.max(0, Math.ceil(bucket.paidUntilMs - nowMs))
}
