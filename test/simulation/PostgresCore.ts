// The core database as a model in memory: receipts, aggregates, the event log and its positions. It keeps what the adapter's statements
// promise: a batch is appended whole or not at all; sequence numbers are taken when a transaction begins and seen when it commits, so
// commits overtake each other; whoever needs an aggregate or a receipt that another transaction holds waits for it, for a bounded
// time. What is committed outlives everything.
import type { CommandAccepted } from "@holdfast/contracts/Command"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { eventVersions } from "@holdfast/contracts/EventVersions"
import { Position, StreamVersion } from "@holdfast/contracts/Ids"
import type { CommandKey, Decided, Known, StoredAggregate } from "@holdfast/database/CommandStore"
import { Commands } from "@holdfast/resilience/Limits"
import { Duration } from "effect"
import { ServerRefusal, type SimulatedServer } from "./SimulatedServer.ts"

export interface StoredReceipt {
  readonly fingerprint: string
  readonly answer: CommandAccepted
  /** As appended, for the invariants. */
  readonly decided: Decided
}

type Unpositioned = Omit<Envelope, "position">

interface Row {
  readonly seq: number
  readonly event: Unpositioned
}

/** What a statement says of each command, before it is a word of the service. */
export type Appended = "appended" | "receipt_existed" | "version_moved"

export interface CoreListener {
  readonly committed: (decided: Decided, events: ReadonlyArray<Unpositioned>) => void
  readonly positioned: (envelope: Envelope) => void
}

interface Transaction {
  readonly batch: ReadonlyArray<Decided>
  readonly done: (result: ReadonlyArray<Appended> | ServerRefusal) => void
  /** Aggregates that it did not see when it began. */
  readonly absent: ReadonlySet<string>
  readonly deadlineMs: number
  readonly life: number
}

export const receiptKey = (principalId: string, commandId: string) => `${principalId} ${commandId}`

export class PostgresCore {
  readonly receipts = new Map<string, StoredReceipt>()
  readonly aggregates = new Map<string, StoredAggregate>()
  readonly positioned: Array<Envelope> = []
  readonly streams = new Map<string, Array<Envelope>>()
  /** Committed and not positioned, by sequence number. */
  readonly waiting: Array<Row> = []
  readonly onPositions = new Set<() => void>()
  published = 0
  #seq = 0
  #number = 0
  readonly #held = new Set<string>()
  readonly #queue: Array<Transaction> = []
  readonly #server: SimulatedServer
  readonly #listener: CoreListener
  readonly #forgetsReceipts: boolean

  constructor(server: SimulatedServer, listener: CoreListener, forgetsReceipts = false) {
    this.#server = server
    this.#forgetsReceipts = forgetsReceipts
    this.#listener = listener
  }

  load(keys: ReadonlyArray<CommandKey>): ReadonlyArray<Known> {
    return keys.map(({ commandId, principalId, streamId }) => {
      const receipt = this.#receipt(principalId, commandId)
      return {
        receipt: receipt === undefined ? null : { fingerprint: receipt.fingerprint, answer: receipt.answer },
        aggregate: this.aggregates.get(streamId) ?? null
      }
    })
  }

  takeNumbers(count: number): ReadonlyArray<number> {
    return Array.from({ length: count }, () => ++this.#number)
  }

  append(batch: ReadonlyArray<Decided>, done: Transaction["done"]): void {
    const { world } = this.#server
    const deadlineMs = world.nowMs + Duration.toMillis(Commands.lockDeadline)
    const absent = new Set(batch.map(({ streamId }) => streamId).filter((id) => !this.aggregates.has(id)))
    this.#begin({ batch, done, absent, deadlineMs, life: this.#server.life })
  }

  #begin(transaction: Transaction): void {
    if (transaction.life !== this.#server.life) return
    const { world } = this.#server
    const needs = locksOf(transaction.batch)
    if (needs.some((lock) => this.#held.has(lock))) {
      world.coverage.hit("database lock waited for")
      this.#queue.push(transaction)
      world.after(Math.max(0, transaction.deadlineMs - world.nowMs), () => this.#giveUp(transaction))
    } else this.#execute(transaction, needs)
  }

  #giveUp(transaction: Transaction): void {
    const index = this.#queue.indexOf(transaction)
    if (index < 0) return
    this.#queue.splice(index, 1)
    transaction.done(new ServerRefusal({ kind: "contention" }))
  }

  #execute(transaction: Transaction, locks: ReadonlyArray<string>): void {
    const { absent, batch, done } = transaction
    const outcomes = batch.map((decided) => this.#outcomeOf(decided, absent))
    const accepted = batch.filter((_, index) => outcomes[index] === "appended")
    const isTaken = accepted.some(({ streamId }) => absent.has(streamId) && this.aggregates.has(streamId))
    if (isTaken) done(new ServerRefusal({ kind: "unique" }))
    else this.#write(transaction, accepted, outcomes, locks)
  }

  /** Sequence numbers now, the commit a moment later, unless the server does not live to see it. */
  #write(
    { done, life }: Transaction,
    accepted: ReadonlyArray<Decided>,
    outcomes: ReadonlyArray<Appended>,
    locks: ReadonlyArray<string>
  ): void {
    const { world } = this.#server
    const written = accepted.map((decided) => ({ decided, rows: this.#rowsOf(decided) }))
    for (const lock of locks) this.#held.add(lock)
    world.after(this.#server.latencyMs(), () => {
      for (const lock of locks) this.#held.delete(lock)
      if (life === this.#server.life) {
        for (const { decided, rows } of written) this.#commit(decided, rows)
        done(outcomes)
      } else world.coverage.hit("database transaction rolled back")
      for (const next of this.#queue.splice(0)) this.#begin(next)
    })
  }

  #outcomeOf(decided: Decided, absent: ReadonlySet<string>): Appended {
    const seen = absent.has(decided.streamId) ? undefined : this.aggregates.get(decided.streamId)
    if ((seen?.version ?? 0) !== decided.decidedVersion) return "version_moved"
    return this.#receipt(decided.principal.id, decided.commandId) === undefined ? "appended" : "receipt_existed"
  }

  #receipt(principalId: string, commandId: string): StoredReceipt | undefined {
    return this.#forgetsReceipts ? undefined : this.receipts.get(receiptKey(principalId, commandId))
  }

  #rowsOf(decided: Decided): ReadonlyArray<Row> {
    return decided.events.map(({ event, eventId, visibility }, index) => ({
      seq: ++this.#seq,
      event: {
        eventId,
        streamType: decided.streamType,
        streamId: decided.streamId,
        streamVersion: StreamVersion.make(decided.decidedVersion + index + 1),
        schemaVersion: eventVersions.currentVersion(event._tag),
        occurredAt: decided.occurredAt,
        principal: decided.principal,
        commandId: decided.commandId,
        correlationId: decided.correlationId,
        causationId: decided.causationId,
        traceparent: decided.traceparent,
        visibility,
        event
      }
    }))
  }

  #commit(decided: Decided, rows: ReadonlyArray<Row>): void {
    const { answer, fingerprint, principal, state, streamId, streamType } = decided
    this.receipts.set(receiptKey(principal.id, decided.commandId), { fingerprint, answer, decided })
    const version = StreamVersion.make(decided.decidedVersion + rows.length)
    if (state !== null && rows.length > 0) this.aggregates.set(streamId, { streamType, version, state })
    for (const row of rows) {
      let at = this.waiting.length
      while (at > 0 && (this.waiting[at - 1]?.seq ?? 0) > row.seq) at--
      if (at < this.waiting.length) this.#server.world.coverage.hit("database commits overtook")
      this.waiting.splice(at, 0, row)
    }
    this.#listener.committed(
      decided,
      rows.map(({ event }) => event)
    )
  }

  assignPositions(countMax: number): number {
    const next = this.waiting.splice(0, countMax)
    for (const { event } of next) this.#position({ ...event, position: Position.make(this.positioned.length + 1) })
    if (next.length > 0) for (const heard of [...this.onPositions]) heard()
    return next.length
  }

  #position(envelope: Envelope): void {
    this.positioned.push(envelope)
    const stream = this.streams.get(envelope.streamId) ?? []
    stream.push(envelope)
    this.streams.set(envelope.streamId, stream)
    this.#listener.positioned(envelope)
  }

  readAfter(after: number, countMax: number): ReadonlyArray<Envelope> {
    return this.positioned.slice(after, after + countMax)
  }

  readStream(streamId: string, after: number): ReadonlyArray<Envelope> {
    return (this.streams.get(streamId) ?? []).filter(({ streamVersion }) => streamVersion > after)
  }
}

const locksOf = (batch: ReadonlyArray<Decided>): ReadonlyArray<string> =>
  batch.flatMap(({ commandId, principal, streamId }) => [streamId, receiptKey(principal.id, commandId)])
