// A desk's past, made by the real decisions and nothing else: commands go in, envelopes as the log would hold them come out, positions
// and versions in order. Deterministic: the same calls give the same events.
import type { RescanOutcome } from "@holdfast/contracts/attachment/Commands"
import { type DeskCommand, definitionOf } from "@holdfast/contracts/Commands"
import type { Envelope } from "@holdfast/contracts/Envelope"
import {
  CommandId,
  CorrelationId,
  EventId,
  FileId,
  Position,
  PrincipalId,
  Sha256,
  StreamId,
  StreamVersion,
  TicketId
} from "@holdfast/contracts/Ids"
import type { Principal, Role } from "@holdfast/contracts/Principal"
import { type AggregateState, decideCommand } from "@holdfast/domain/Aggregates"
import { inboxIdOf } from "@holdfast/domain/DerivedId"
import { DateTime, Result } from "effect"

export const principal = (role: Role, id: string, name: string = id): Principal => ({
  id: PrincipalId.make(id),
  role,
  name,
  email: `${id}@example.org`
})

export const uuid = (n: number): string => `01900000-0000-7000-8000-${n.toString(16).padStart(12, "0")}`

interface Stream {
  readonly state: AggregateState | null
  readonly version: number
}

export class History {
  readonly envelopes: Array<Envelope> = []
  #ids = 0
  #number = 0
  #streams = new Map<string, Stream>()
  readonly #startMs: number

  constructor(startMs: number = Date.UTC(2026, 0, 5, 8)) {
    this.#startMs = startMs
  }

  nextId(): string {
    return uuid(++this.#ids)
  }

  /** Appends what the command decides, one second after what came before; a refusal is thrown. */
  issue(by: Principal, command: DeskCommand): ReadonlyArray<Envelope> {
    const commandId = CommandId.make(this.nextId())
    const id = streamOf(by, command) ?? commandId
    const before = this.#streams.get(id) ?? { state: null, version: 0 }
    const context = { principal: by, commandId, number: this.#number + 1 }
    const decision = Result.getOrThrow(decideCommand(before.state, command, context))
    if (command._tag === "OpenTicket") this.#number++
    const streamType = definitionOf(command._tag).streamType
    const made = decision.events.map((event, index): Envelope => {
      const position = this.envelopes.length + index + 1
      const visibility = decision.visibilities[index]
      if (visibility === undefined) throw new Error("an event without its visibility")
      return {
        eventId: EventId.make(this.nextId()),
        streamType,
        streamId: StreamId.make(id),
        streamVersion: StreamVersion.make(before.version + index + 1),
        schemaVersion: 1,
        position: Position.make(position),
        occurredAt: DateTime.toUtc(DateTime.makeUnsafe(this.#startMs + position * 1000)),
        principal: by,
        commandId,
        correlationId: CorrelationId.make(commandId),
        causationId: null,
        traceparent: null,
        visibility,
        event
      }
    })
    this.#streams.set(id, { state: decision.state, version: before.version + made.length })
    this.envelopes.push(...made)
    return made
  }

  /** The id of the new ticket. */
  open(by: Principal, subject: string, body: string = subject): TicketId {
    const [opened] = this.issue(by, { _tag: "OpenTicket", subject, body })
    if (opened === undefined) throw new Error("nothing was opened")
    return TicketId.make(opened.streamId)
  }

  /** The id of an uploaded file that is registered and waits for its stages. */
  upload(owner: Principal, name: string, ticketId?: TicketId): FileId {
    const fileId = FileId.make(this.nextId())
    this.issue(pipeline, {
      _tag: "RegisterFile",
      fileId,
      name,
      sizeBytes: 5,
      sha256: Sha256.make("a".repeat(64)),
      declaredType: "image/png",
      ownerId: owner.id,
      ...(ticketId === undefined ? {} : { ticketId })
    })
    return fileId
  }

  rescan(fileId: FileId, outcome: RescanOutcome): void {
    const tool = { name: "test", version: "1" }
    this.issue(pipeline, { _tag: "RecordFileRescan", fileId, outcome, tool, durationMs: 1 })
  }

  /** Through every stage to released, with a thumbnail. */
  release(fileId: FileId): void {
    const tool = { name: "test", version: "1" }
    const thumbnail = {
      kind: "thumbnail",
      sha256: Sha256.make("b".repeat(64)),
      sizeBytes: 2,
      mediaType: "image/png"
    } as const
    const stages = [
      { stage: "identify", outcome: { _tag: "Identified", mediaType: "image/png" } },
      { stage: "scan", outcome: { _tag: "Clean" } },
      { stage: "convert", outcome: { _tag: "Converted", derivatives: [thumbnail] } },
      { stage: "release", outcome: { _tag: "Released" } }
    ] as const
    for (const stage of stages) {
      this.issue(pipeline, { _tag: "RecordFileStages", fileId, stages: [{ tool, durationMs: 1, ...stage }] })
    }
  }
}

export const pipeline = principal("service", "file-pipeline")

const streamOf = (by: Principal, command: DeskCommand): string | null => {
  switch (command._tag) {
    case "OpenTicket":
      return null
    case "RegisterFile":
    case "RecordFileStages":
    case "RetryFile":
    case "RescanFile":
    case "RecordFileRescan":
    case "WithdrawFile":
      return command.fileId
    case "ReadNotifications":
      return inboxIdOf(by.id)
    default:
      return command.ticketId
  }
}

/** A past in which everything happens that can happen. */
export const fullHistory = (): History => {
  const history = new History()
  const ada = principal("agent", "ada", "Ada")
  const carl = principal("customer", "carl", "Carl")
  const ticketId = history.open(carl, "The printer is on fire", "It burns.")
  history.issue(ada, { _tag: "ClaimTicket", ticketId })
  history.issue(ada, { _tag: "ReplyToTicket", ticketId, body: "Have you tried water?" })
  history.issue(ada, { _tag: "AddNote", ticketId, body: "A secret: he is a VIP.", mentions: [PrincipalId.make("bob")] })
  history.issue(ada, { _tag: "AssignTicket", ticketId, assigneeId: PrincipalId.make("bob") })
  const photo = history.upload(carl, "fire.png", ticketId)
  history.issue(carl, { _tag: "AttachFile", ticketId, fileId: photo, name: "fire.png" })
  history.release(photo)
  const memo = history.upload(ada, "memo.png", ticketId)
  history.issue(ada, { _tag: "AttachFile", ticketId, fileId: memo, name: "memo.png", audience: "internal" })
  const tool = { name: "test", version: "1" }
  history.issue(pipeline, {
    _tag: "RecordFileStages",
    fileId: memo,
    stages: [{ stage: "identify", outcome: { _tag: "Failed", detail: "no" }, tool, durationMs: 1 }]
  })
  history.issue(ada, { _tag: "RetryFile", fileId: memo })
  history.issue(pipeline, {
    _tag: "RecordFileStages",
    fileId: memo,
    stages: [
      { stage: "identify", outcome: { _tag: "Rejected", reason: "malware", detail: "found" }, tool, durationMs: 1 }
    ]
  })
  history.issue(ada, { _tag: "ChangeTicketStatus", ticketId, status: "solved" })
  history.issue(carl, { _tag: "ReplyToTicket", ticketId, body: "It still burns." })
  const dora = principal("customer", "dora", "Dora")
  history.issue(carl, { _tag: "ReadNotifications", upTo: Position.make(history.envelopes.length) })
  withdraw(history, dora, history.open(dora, "No network", "The network is down."))
  return history
}

const withdraw = (history: History, owner: Principal, ticketId: TicketId): void => {
  const fileId = history.upload(owner, "network.png", ticketId)
  history.issue(owner, { _tag: "AttachFile", ticketId, fileId, name: "network.png" })
  history.release(fileId)
  const outcomes = [
    { _tag: "Failed", detail: "no" },
    { _tag: "Clean" },
    { _tag: "Bad", reason: "malware", detail: "found" }
  ] as const
  for (const outcome of outcomes) {
    history.issue(pipeline, { _tag: "RescanFile", fileId })
    history.rescan(fileId, outcome)
  }
  const about = { fileId, name: "network.png", audience: "public", reason: "malware", detail: "found" } as const
  history.issue(pipeline, { _tag: "WithdrawAttachment", ticketId, ...about })
}
