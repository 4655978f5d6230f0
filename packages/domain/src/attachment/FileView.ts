// The view of a file as a pure fold, under the same law as a ticket's.

import type { FileEvent } from "@holdfast/contracts/attachment/Events"
import type { Tool } from "@holdfast/contracts/attachment/Stages"
import type { FileView, StageRecord } from "@holdfast/contracts/attachment/Views"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { stateBefore } from "./Attachment.ts"

export const timelineMax = 64

export const applyFile = (view: FileView | null, envelope: Envelope): FileView | null => {
  if (view !== null && envelope.streamVersion <= view.version) return view
  const changed = changeOf(view, envelope)
  if (changed === null) return view
  return {
    ...changed,
    version: envelope.streamVersion,
    position: envelope.position,
    updatedAt: envelope.occurredAt,
    timeline: bounded(changed.timeline)
  }
}

/** How the file came to be released stays told however often it is looked at again. */
const bounded = (timeline: FileView["timeline"]): FileView["timeline"] => {
  let excess = timeline.length - timelineMax
  const kept = timeline.filter(({ outcome, stage }) => {
    const isDropped = excess > 0 && stage === "rescan" && (outcome === "requested" || outcome === "passed")
    if (isDropped) excess--
    return !isDropped
  })
  return kept.slice(-timelineMax)
}

const changeOf = (view: FileView | null, envelope: Envelope): FileView | null => {
  const { event } = envelope
  if (event._tag === "FileReceived") return received(envelope, event)
  if (view === null) return null
  const passed = (stage: StageRecord["stage"], ran: Ran): FileView["timeline"] =>
    record(view, envelope, { stage, outcome: "passed", detail: ran.detail ?? null, ...by(ran) })
  switch (event._tag) {
    case "FileIdentified":
      return { ...view, state: "identified", mediaType: event.mediaType, timeline: passed("identify", event) }
    case "FileScanned":
      return { ...view, state: "scanned", timeline: passed("scan", { ...event, detail: lookedInto(event.inspector) }) }
    case "FileConverted":
      return { ...view, state: "converted", derivatives: event.derivatives, timeline: passed("convert", event) }
    case "FileReleased":
      return {
        ...view,
        state: "released",
        content: event.content,
        timeline: passed("release", event)
      }
    case "FileRescanned":
      return { ...view, timeline: passed("rescan", { ...event, detail: lookedInto(event.inspector) }) }
    case "FileRejected":
    case "FileParked":
    case "FileRetried":
    case "FileRescanRequested":
    case "FileRescanFailed":
    case "FileWithdrawn":
      return stopped(view, envelope, event)
    default:
      return null
  }
}

const lookedInto = (inspector: Tool | undefined): string | null =>
  inspector === undefined ? null : `looked into by ${inspector.name} ${inspector.version}`

/** The oldest events do not say who ran, or for how long. */
type Ran = Partial<Pick<StageRecord, "tool" | "durationMs" | "detail">>
const by = ({ durationMs, tool }: Ran) => ({ tool: tool ?? null, durationMs: durationMs ?? null })

type Stopped = Extract<
  FileEvent,
  {
    readonly _tag:
      | "FileRejected"
      | "FileParked"
      | "FileRetried"
      | "FileRescanRequested"
      | "FileRescanFailed"
      | "FileWithdrawn"
  }
>

const stopped = (view: FileView, envelope: Envelope, event: Stopped): FileView => {
  const stage = "stage" in event ? event.stage : "rescan"
  switch (event._tag) {
    case "FileRejected": {
      const { detail, durationMs, reason, tool } = event
      const timeline = record(view, envelope, { stage, outcome: "rejected", detail, tool, durationMs })
      return { ...view, state: "rejected", rejection: { reason, detail }, timeline }
    }
    case "FileParked": {
      const timeline = record(view, envelope, { stage, outcome: "parked", detail: event.detail, ...by(event) })
      return { ...view, state: "parked", timeline }
    }
    case "FileRetried": {
      const timeline = record(view, envelope, { stage, outcome: "retried", detail: null, ...by({}) })
      return { ...view, state: stateBefore[event.stage], timeline }
    }
    case "FileRescanRequested":
      return { ...view, timeline: record(view, envelope, { stage, outcome: "requested", detail: null, ...by({}) }) }
    case "FileRescanFailed": {
      const timeline = record(view, envelope, { stage, outcome: "failed", detail: event.detail, ...by(event) })
      return { ...view, timeline }
    }
    case "FileWithdrawn": {
      const { detail, reason } = event
      const timeline = record(view, envelope, { stage, outcome: "withdrawn", detail, ...by(event) })
      return { ...view, state: "withdrawn", rejection: { reason, detail }, content: null, timeline }
    }
  }
}

const record = (view: FileView, envelope: Envelope, entry: Omit<StageRecord, "at">): FileView["timeline"] => [
  ...view.timeline,
  { ...entry, at: envelope.occurredAt }
]

const received = (envelope: Envelope, event: Extract<FileEvent, { readonly _tag: "FileReceived" }>): FileView => ({
  id: event.fileId,
  version: envelope.streamVersion,
  position: envelope.position,
  name: event.name,
  sizeBytes: event.sizeBytes,
  sha256: event.sha256,
  declaredType: event.declaredType,
  mediaType: null,
  ownerId: event.ownerId,
  ticketId: event.ticketId ?? null,
  state: "received",
  rejection: null,
  content: null,
  derivatives: [],
  timeline: [],
  receivedAt: envelope.occurredAt,
  updatedAt: envelope.occurredAt
})
