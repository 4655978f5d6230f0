// Old events stay readable for ever. Each event type has one current schema version; what was stored under an older one is raised
// step by step by upcasters, then decoded. An event is never edited: a change is a new version, an upcaster from the one before, and
// a golden file (see CONTRIBUTING). Used for the log in the database and for the wire alike.
import { Result, Schema } from "effect"
import { FileEvent } from "./attachment/Events.ts"
import type { DeskEvent, DeskEventType } from "./DeskEvent.ts"
import { InboxEvent } from "./notification/Events.ts"
import { TicketEvent } from "./ticket/Events.ts"

/** An event as stored or sent, without its tag. */
export type EventData = Readonly<Record<string, unknown>>

/** Raises the data of `type` from `from` to `from + 1`. */
export interface Upcaster {
  readonly type: DeskEventType
  readonly from: number
  readonly raise: (data: EventData) => EventData
}

/** No event has changed since the first release. */
export const upcasters: ReadonlyArray<Upcaster> = []

export class EventUnreadable extends Schema.TaggedError<EventUnreadable>()("EventUnreadable", {
  type: Schema.String,
  schemaVersion: Schema.Finite,
  /** Names the field and what is wrong; never carries the value. */
  detail: Schema.String
}) {}

const members = [...TicketEvent.members, ...FileEvent.members, ...InboxEvent.members] as const
type Member = (typeof members)[number]
type Decode = (event: unknown) => Result.Result<DeskEvent, Schema.SchemaError>

const decoderOf = (member: Member): Decode => Schema.decodeUnknownResult<Member>(member)

const decoders: ReadonlyMap<string, Decode> = new Map(
  members.map((member): [string, Decode] => [member.fields._tag.schema.literal, decoderOf(member)])
)

export const eventTypes: ReadonlyArray<string> = [...decoders.keys()]

export interface EventVersions {
  /** The version that new events of this type are written with. */
  currentVersion(type: DeskEventType): number
  /** The event that data stored under an old or the current version stands for. */
  decode(type: string, schemaVersion: number, data: EventData): Result.Result<DeskEvent, EventUnreadable>
}

export const makeEventVersions = (known: ReadonlyArray<Upcaster>): EventVersions => {
  const byTypeAndVersion = new Map(known.map((upcaster) => [`${upcaster.type}/${upcaster.from}`, upcaster]))
  const currentVersion = (type: string): number => 1 + known.filter((upcaster) => upcaster.type === type).length
  const decode: EventVersions["decode"] = (type, schemaVersion, data) => {
    const unreadable = (detail: string) => Result.fail(new EventUnreadable({ type, schemaVersion, detail }))
    const decoder = decoders.get(type)
    if (decoder === undefined) return unreadable("no such event type")
    const current = currentVersion(type)
    if (schemaVersion > current) return unreadable(`written by a newer release: the newest version here is ${current}`)
    let raised = data
    for (let version = schemaVersion; version < current; version++) {
      const upcaster = byTypeAndVersion.get(`${type}/${version}`)
      if (upcaster === undefined) return unreadable(`no upcaster from version ${version}`)
      raised = upcaster.raise(raised)
    }
    return Result.mapError(
      decoder({ ...raised, _tag: type }),
      (error) => new EventUnreadable({ type, schemaVersion, detail: error.message })
    )
  }
  return { currentVersion, decode }
}

export const eventVersions: EventVersions = makeEventVersions(upcasters)

/** What is stored or sent: the event without its tag, which stands beside it as its type. */
export const eventData = (event: DeskEvent): EventData => {
  // No event holds anything that JSON does not, so its encoded form is itself; the annotation fails to compile once that changes.
  const { _tag, ...data }: typeof DeskEvent.Encoded = event
  return data
}
