// One command on its way: what was asked, how far it got, and where its answer goes. It is settled exactly once, by its batch, by its
// deadline or by a caller who left; what is settled before its append began is never appended.
import type { CommandAccepted } from "@holdfast/contracts/Command"
import type { CommandError } from "@holdfast/contracts/CommandErrors"
import { type DeskCommandDefinition, type DeskRefusal, definitionOf } from "@holdfast/contracts/Commands"
import { StreamId } from "@holdfast/contracts/Ids"
import type { IssuedCommand } from "@holdfast/contracts/wire/CommandBus"
import { inboxIdOf } from "@holdfast/domain/DerivedId"
import { Deferred, type Exit } from "effect"
import { fingerprintOf } from "./Idempotency.ts"

export type Answer = Exit.Exit<CommandAccepted, DeskRefusal | CommandError>

export class Pending {
  readonly issued: IssuedCommand
  readonly definition: DeskCommandDefinition
  readonly streamId: StreamId
  readonly fingerprint: string
  readonly traceparent: string | null
  readonly answer = Deferred.makeUnsafe<CommandAccepted, DeskRefusal | CommandError>()
  phase: "waiting" | "appending" | "settled" = "waiting"
  /** Batches that it has been part of. */
  attempts = 0
  readonly #onSettled: () => void

  constructor(issued: IssuedCommand, traceparent: string | null, onSettled: () => void) {
    this.issued = issued
    this.definition = definitionOf(issued.command._tag)
    this.streamId = streamIdOf(issued, this.definition)
    this.fingerprint = fingerprintOf(issued.command)
    this.traceparent = traceparent
    this.#onSettled = onSettled
  }

  get isSettled(): boolean {
    return this.phase === "settled"
  }

  settle(answer: Answer): void {
    if (this.isSettled) return
    this.phase = "settled"
    this.#onSettled()
    Deferred.doneUnsafe(this.answer, answer)
  }
}

const streamIdOf = (
  { command, meta, principal }: IssuedCommand,
  { streamIdField }: DeskCommandDefinition
): StreamId => {
  if (streamIdField === "commandId") return StreamId.make(meta.commandId)
  if (streamIdField === "principalId") return inboxIdOf(principal.id)
  const id: unknown = Object.entries(command).find(([field]) => field === streamIdField)?.[1]
  if (typeof id !== "string") throw new Error(`${command._tag} has no ${streamIdField}`)
  return StreamId.make(id)
}
