// Random pasts of a desk: any commands by anybody, through the real decisions; what is refused simply did not happen.
import type { RescanOutcome, StageOutcome } from "@holdfast/contracts/attachment/Commands"
import type { DeskCommand } from "@holdfast/contracts/Commands"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { FileId, Position, PrincipalId, Sha256, TicketId } from "@holdfast/contracts/Ids"
import { isStaff, type Principal } from "@holdfast/contracts/Principal"
import { Audience, TicketStatus } from "@holdfast/contracts/ticket/Status"
import { History, pipeline, principal, uuid } from "@holdfast/testkit/History"
import { Schema } from "effect"
import { nextStage } from "../src/attachment/Attachment.ts"
import { applyFile } from "../src/attachment/FileView.ts"
import { mayIssue } from "../src/Permissions.ts"

export const carol = principal("customer", "carol")
export const dora = principal("customer", "dora")
export const ada = principal("agent", "ada")
export const bob = principal("agent", "bob")
export const people: ReadonlyArray<Principal> = [carol, dora, ada, bob]

const Who = Schema.Literals(["carol", "dora", "ada", "bob"])
const Small = Schema.Literals([0, 1, 2])

const Step = Schema.TaggedUnion({
  Open: { who: Who },
  Reply: { who: Who, ticket: Small, mentions: Schema.NullOr(Who) },
  Note: { who: Who, ticket: Small, mentions: Who },
  Assign: { who: Who, ticket: Small, to: Who },
  Claim: { who: Who, ticket: Small },
  Status: { who: Who, ticket: Small, status: TicketStatus },
  Attach: { who: Who, ticket: Small, file: Small, audience: Audience },
  Register: { file: Small, owner: Who },
  /** Whatever stage the file waits for. */
  Stage: { file: Small, outcome: Schema.Literals(["passed", "passed again", "Rejected", "Failed"]) },
  Retry: { file: Small },
  Rescan: { file: Small },
  Looked: { file: Small, outcome: Schema.Literals(["Clean", "Bad", "Failed"]) },
  Withdraw: { file: Small },
  Tell: { ticket: Small, file: Small, audience: Audience },
  Read: { who: Who, upTo: Small }
})
type Step = typeof Step.Type

export const Steps = Schema.Array(Step).check(Schema.isBetweenLength(30, 60))

const byName = (who: string): Principal => people.find(({ id }) => id === who) ?? ada
const fileOf = (index: number) => FileId.make(uuid(0xf000 + index))
const passed: { readonly [S in "identify" | "scan" | "convert" | "release"]: StageOutcome } = {
  identify: { _tag: "Identified", mediaType: "image/png" },
  scan: { _tag: "Clean" },
  convert: { _tag: "Converted", derivatives: [] },
  release: { _tag: "Released" }
}
const failed: { readonly [O in "Rejected" | "Failed"]: StageOutcome } = {
  Rejected: { _tag: "Rejected", reason: "malware", detail: "found" },
  Failed: { _tag: "Failed", detail: "it crashed" }
}

const tool = { name: "test", version: "1" }
const found = { reason: "malware", detail: "found" } as const
const looked: { readonly [O in RescanOutcome["_tag"]]: RescanOutcome } = {
  Clean: { _tag: "Clean" },
  Bad: { _tag: "Bad", ...found },
  Failed: { _tag: "Failed", detail: "it crashed" }
}

interface Issue {
  readonly by: Principal
  readonly command: DeskCommand
}

const toCommand = (step: Step, ticketAt: (index: number) => TicketId, past: ReadonlyArray<Envelope>): Issue => {
  switch (step._tag) {
    case "Open":
      return { by: byName(step.who), command: { _tag: "OpenTicket", subject: `of ${step.who}`, body: "public words" } }
    case "Register": {
      const facts = { name: "f.png", sizeBytes: 5, sha256: Sha256.make("a".repeat(64)), declaredType: "image/png" }
      const command = {
        _tag: "RegisterFile",
        fileId: fileOf(step.file),
        ownerId: byName(step.owner).id,
        ...facts
      } as const
      return { by: pipeline, command }
    }
    case "Stage":
      return { by: pipeline, command: recordStage(fileOf(step.file), step.outcome, past) }
    case "Retry":
      return { by: pipeline, command: { _tag: "RetryFile", fileId: fileOf(step.file) } }
    case "Rescan":
      return { by: pipeline, command: { _tag: "RescanFile", fileId: fileOf(step.file) } }
    case "Looked": {
      const outcome = looked[step.outcome]
      const report = { fileId: fileOf(step.file), outcome, tool, durationMs: 1 }
      return { by: pipeline, command: { _tag: "RecordFileRescan", ...report } }
    }
    case "Withdraw":
      return { by: pipeline, command: { _tag: "WithdrawFile", fileId: fileOf(step.file), ...found, tool } }
    case "Tell": {
      const about = { fileId: fileOf(step.file), name: `${step.audience}.png`, audience: step.audience, ...found }
      return { by: pipeline, command: { _tag: "WithdrawAttachment", ticketId: ticketAt(step.ticket), ...about } }
    }
    case "Read":
      return { by: byName(step.who), command: { _tag: "ReadNotifications", upTo: Position.make(step.upTo) } }
    default:
      return { by: byName(step.who), command: onTicket(step, ticketAt(step.ticket)) }
  }
}

const recordStage = (
  fileId: FileId,
  outcome: Extract<Step, { readonly _tag: "Stage" }>["outcome"],
  past: ReadonlyArray<Envelope>
): DeskCommand => {
  const file = past.filter(({ streamId }) => String(streamId) === fileId).reduce(applyFile, null)
  const stage = (file === null ? null : nextStage(file)) ?? "identify"
  const reported = outcome === "Rejected" || outcome === "Failed" ? failed[outcome] : passed[stage]
  return { _tag: "RecordFileStages", fileId, stages: [{ stage, outcome: reported, tool, durationMs: 1 }] }
}

type OnTicket = Exclude<
  Step,
  { readonly _tag: "Open" | "Register" | "Stage" | "Retry" | "Rescan" | "Looked" | "Withdraw" | "Tell" | "Read" }
>

const onTicket = (step: OnTicket, ticketId: TicketId): DeskCommand => {
  switch (step._tag) {
    case "Reply":
      return { _tag: "ReplyToTicket", ticketId, body: "public words", ...naming(step.mentions) }
    case "Note":
      return { _tag: "AddNote", ticketId, body: "internal words", ...naming(step.mentions) }
    case "Assign":
      return { _tag: "AssignTicket", ticketId, assigneeId: PrincipalId.make(step.to) }
    case "Claim":
      return { _tag: "ClaimTicket", ticketId }
    case "Status":
      return { _tag: "ChangeTicketStatus", ticketId, status: step.status }
    case "Attach": {
      // A customer's file is public whatever they ask for.
      const name = isStaff(byName(step.who)) ? `${step.audience}.png` : "public.png"
      return { _tag: "AttachFile", ticketId, fileId: fileOf(step.file), name, audience: step.audience }
    }
  }
}

const naming = (who: string | null) => (who === null ? {} : { mentions: [PrincipalId.make(who)] })

// So that the steps after them find something.
const beginning: ReadonlyArray<Step> = [
  { _tag: "Open", who: "carol" },
  { _tag: "Open", who: "dora" },
  { _tag: "Register", file: 0, owner: "carol" },
  { _tag: "Stage", file: 0, outcome: "passed" },
  { _tag: "Stage", file: 0, outcome: "passed" },
  { _tag: "Register", file: 1, owner: "dora" },
  { _tag: "Stage", file: 1, outcome: "passed" },
  { _tag: "Stage", file: 1, outcome: "passed" },
  { _tag: "Stage", file: 1, outcome: "passed" },
  { _tag: "Stage", file: 1, outcome: "passed" }
]

/** What the log holds after these steps, at most three tickets and three files. */
export const pastOf = (steps: ReadonlyArray<Step>): ReadonlyArray<Envelope> => {
  const history = new History()
  const tickets: Array<TicketId> = []
  const nowhere = TicketId.make(uuid(0xdead))
  for (const step of [...beginning, ...steps]) {
    if (step._tag === "Open" && tickets.length === 3) continue
    const { by, command } = toCommand(step, (index) => tickets[index] ?? nowhere, history.envelopes)
    if (!mayIssue(by, command._tag)) continue
    try {
      const [first] = history.issue(by, command)
      if (step._tag === "Open" && first !== undefined) tickets.push(TicketId.make(first.streamId))
    } catch {
      // Refused: it did not happen.
    }
  }
  return history.envelopes
}

/** Each stream's own events, in order. */
export const streamsOf = (past: ReadonlyArray<Envelope>, streamType: Envelope["streamType"]) => [
  ...Map.groupBy(
    past.filter((envelope) => envelope.streamType === streamType),
    (envelope) => envelope.streamId
  ).values()
]
