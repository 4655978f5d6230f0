// How much one client and all together may take: requests under way, and bytes a second (see Bandwidth.ts). Whoever may not pass yet waits, and
// the wait reaches the sender through TCP, so nothing is buffered. Uploads and downloads each have one of these, so neither direction waits
// for the other.
import type { PrincipalId } from "@holdfast/contracts/Ids"
import { Files } from "@holdfast/resilience/Limits"
import { ByteSize, Clock, Context, Effect, Latch, Layer, Schema, type Scope } from "effect"
import { Bandwidth, burstMs } from "./Bandwidth.ts"

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

/** What an operator set; null where it is left to us. Bytes a second. */
export interface Rates {
  readonly all: number | null
  readonly perClient: number | null
  /** What the line to the clients carries in this direction. */
  readonly line: number | null
}

/** Of a line that is told, files leave a share to commands and queries. */
export const limitsWith = (limits: TransferLimits, { all, line, perClient }: Rates): TransferLimits => {
  const lineBytes = line === null ? Number.POSITIVE_INFINITY : Math.floor(line * Files.lineShareMax)
  const bytesPerSecondMax = Math.min(all ?? limits.bytesPerSecondMax, lineBytes)
  const perClientMax = perClient ?? limits.bytesPerSecondPerPrincipalMax
  return {
    ...limits,
    bytesPerSecondMax,
    bytesPerSecondPerPrincipalMax: Math.min(perClientMax, bytesPerSecondMax)
  }
}

export class Transfers extends Context.Service<
  Transfers,
  {
    /** Counts as one of the principal's transfers while the scope is open. */
    admit(principalId: PrincipalId): Effect.Effect<void, TooManyTransfers, Scope.Scope>
    /** Waits until so many bytes more may pass. */
    pass(principalId: PrincipalId, sizeBytes: number): Effect.Effect<void>
    /** So many at a time are a steady flow; more at once would take a slow line from everybody else for as long as they last. */
    readonly pieceBytes: number
  }
>()("@holdfast/files/Transfers") {}

export const layer = (limits: TransferLimits = limitsDefault) =>
  Layer.effect(
    Transfers,
    Effect.gen(function* () {
      const { admit } = counted(limits)
      const bandwidth = new Bandwidth({
        bytesPerSecondMax: limits.bytesPerSecondMax,
        bytesPerSecondPerClientMax: limits.bytesPerSecondPerPrincipalMax
      })
      const somebodyWaits = Latch.makeUnsafe()
      yield* Effect.forkScoped(Effect.tapCause(letThrough(bandwidth, somebodyWaits), Effect.logError))
      return {
        admit,
        pass: (principalId, sizeBytes) => pass(bandwidth, somebodyWaits, principalId, sizeBytes),
        pieceBytes: pieceBytesOf(limits)
      }
    })
  )

const pieceBytesOf = (limits: TransferLimits): number => {
  const bytesPerSecond = Math.min(limits.bytesPerSecondMax, limits.bytesPerSecondPerPrincipalMax)
  return Math.min(ByteSize.toNumberUnsafe(Files.writeBatchBytes), Math.ceil((bytesPerSecond * burstMs) / 1000))
}

const nowMs = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

/** Lets pass whoever waits, when it is their time. */
const letThrough = (bandwidth: Bandwidth, somebodyWaits: Latch.Latch) =>
  Effect.forever(
    Effect.gen(function* () {
      yield* somebodyWaits.close
      const waitMs = bandwidth.grant(yield* nowMs)
      // Somebody who comes may be let through before those who wait.
      yield* waitMs === null ? somebodyWaits.await : Effect.race(Effect.sleep(waitMs), somebodyWaits.await)
    })
  )

const pass = (bandwidth: Bandwidth, somebodyWaits: Latch.Latch, client: PrincipalId, sizeBytes: number) =>
  Effect.flatMap(nowMs, (now) =>
    Effect.callback<void>((resume) => {
      const turn = { sizeBytes, onGranted: () => resume(Effect.void) }
      bandwidth.ask(client, turn, now)
      if (bandwidth.grant(now) !== null) somebodyWaits.openUnsafe()
      return Effect.sync(() => bandwidth.withdraw(client, turn))
    })
  )

const counted = (limits: TransferLimits) => {
  const ofClient = new Map<PrincipalId, number>()
  let underWay = 0
  const change = (principalId: PrincipalId, by: 1 | -1) =>
    Effect.sync(() => {
      underWay += by
      const left = (ofClient.get(principalId) ?? 0) + by
      if (left === 0) ofClient.delete(principalId)
      else ofClient.set(principalId, left)
    })
  const begin = (principalId: PrincipalId) =>
    Effect.suspend(() => {
      if ((ofClient.get(principalId) ?? 0) >= limits.perPrincipalMax) {
        return Effect.fail(new TooManyTransfers({ whose: "client" }))
      }
      return underWay >= limits.underWayMax
        ? Effect.fail(new TooManyTransfers({ whose: "all" }))
        : change(principalId, 1)
    })
  return {
    admit: (principalId: PrincipalId) => Effect.acquireRelease(begin(principalId), () => change(principalId, -1))
  }
}
