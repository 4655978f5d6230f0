// An envelope on the wire: a CloudEvents 1.0 event in structured JSON mode. CloudEvents attributes are lower-case letters and digits
// with simple values, so an envelope maps like this (an absent attribute stands for null; `position` is a string because a
// CloudEvents integer has 32 bits):
//
//   specversion "1.0", source "/holdfast", datacontenttype "application/json"
//   id eventId, type "holdfast.<stream>.<Event>", subject streamId, time occurredAt
//   schemaversion, position, streamversion, commandid, correlationid, causationid, traceparent (the Distributed Tracing extension)
//   principalid, principalrole, principalname, principalemail
//   audience, requesterid; beforestatus, beforeassigneeid, beforerequesterid; afterstatus, afterassigneeid, afterrequesterid
//   data: the event's fields
//
// Encoding never fails; decoding checks everything and fails typed. Golden files in test/golden pin the encoding of every event.
import { DateTime, Result, Schema } from "effect"
import { StreamType } from "./Command.ts"
import type { Envelope, TicketFacts } from "./Envelope.ts"
import { Traceparent } from "./Envelope.ts"
import { type EventUnreadable, eventData, eventVersions } from "./EventVersions.ts"
import { CommandId, CorrelationId, EventId, Position, PrincipalId, StreamId, StreamVersion } from "./Ids.ts"
import { Principal, Role } from "./Principal.ts"
import { Audience, TicketStatus } from "./ticket/Status.ts"

const CloudEvent = Schema.Struct({
  specversion: Schema.Literal("1.0"),
  id: EventId,
  source: Schema.Literal("/holdfast"),
  type: Schema.TemplateLiteral(["holdfast.", StreamType, ".", Schema.String]),
  subject: StreamId,
  time: Schema.DateTimeUtcFromString,
  datacontenttype: Schema.Literal("application/json"),
  schemaversion: Schema.Int.check(Schema.isGreaterThan(0)),
  position: Schema.FiniteFromString.pipe(Schema.decodeTo(Position)),
  streamversion: StreamVersion,
  commandid: CommandId,
  correlationid: CorrelationId,
  causationid: Schema.optionalKey(EventId),
  traceparent: Schema.optionalKey(Traceparent),
  principalid: PrincipalId,
  principalrole: Role,
  principalname: Schema.optionalKey(Principal.fields.name.schema),
  principalemail: Schema.optionalKey(Principal.fields.email.schema),
  audience: Audience,
  requesterid: PrincipalId,
  beforestatus: Schema.optionalKey(TicketStatus),
  beforeassigneeid: Schema.optionalKey(PrincipalId),
  beforerequesterid: Schema.optionalKey(PrincipalId),
  afterstatus: Schema.optionalKey(TicketStatus),
  afterassigneeid: Schema.optionalKey(PrincipalId),
  afterrequesterid: Schema.optionalKey(PrincipalId),
  data: Schema.Record(Schema.String, Schema.Unknown)
})
type CloudEvent = typeof CloudEvent.Type
/** Every attribute, undefined where JSON leaves it out. */
type Encoded = { readonly [K in keyof typeof CloudEvent.Encoded]-?: (typeof CloudEvent.Encoded)[K] | undefined }

/** Not a CloudEvent of the desk. Never carries a value of the event. */
export class EnvelopeUnreadable extends Schema.TaggedError<EnvelopeUnreadable>()("EnvelopeUnreadable", {
  detail: Schema.String
}) {}

/** The media type of an encoded envelope. */
export const mediaType = "application/cloudevents+json"

export const encodeEnvelope = (envelope: Envelope): string => JSON.stringify(toCloudEvent(envelope))

const decodeCloudEvent = Schema.decodeUnknownResult(CloudEvent)

export const decodeEnvelope = (encoded: string): Result.Result<Envelope, EnvelopeUnreadable | EventUnreadable> =>
  Result.flatMap(parse(encoded), (json) =>
    Result.flatMap(
      Result.mapError(decodeCloudEvent(json), (error) => new EnvelopeUnreadable({ detail: error.message })),
      toEnvelope
    )
  )

const parse = (encoded: string): Result.Result<unknown, EnvelopeUnreadable> =>
  Result.try({ try: (): unknown => JSON.parse(encoded), catch: () => new EnvelopeUnreadable({ detail: "not JSON" }) })

// Written by hand rather than by the schema, because every event passes here several times; the golden files hold both to one form.
const toCloudEvent = ({ event, principal, visibility, ...envelope }: Envelope): Encoded => ({
  specversion: "1.0",
  id: envelope.eventId,
  source: "/holdfast",
  type: `holdfast.${envelope.streamType}.${event._tag}`,
  subject: envelope.streamId,
  time: DateTime.formatIso(envelope.occurredAt),
  datacontenttype: "application/json",
  schemaversion: envelope.schemaVersion,
  position: String(envelope.position),
  streamversion: envelope.streamVersion,
  commandid: envelope.commandId,
  correlationid: envelope.correlationId,
  causationid: envelope.causationId ?? undefined,
  traceparent: envelope.traceparent ?? undefined,
  principalid: principal.id,
  principalrole: principal.role,
  principalname: principal.name,
  principalemail: principal.email,
  audience: visibility.audience,
  requesterid: visibility.requesterId,
  beforestatus: visibility.before?.status,
  beforeassigneeid: visibility.before?.assigneeId ?? undefined,
  beforerequesterid: visibility.before?.requesterId,
  afterstatus: visibility.after?.status,
  afterassigneeid: visibility.after?.assigneeId ?? undefined,
  afterrequesterid: visibility.after?.requesterId,
  data: eventData(event)
})

const isStreamType = Schema.is(StreamType)

const toEnvelope = (encoded: CloudEvent): Result.Result<Envelope, EventUnreadable> => {
  const [, streamType, type] = encoded.type.split(".")
  return Result.map(eventVersions.decode(type ?? "", encoded.schemaversion, encoded.data), (event) => ({
    eventId: encoded.id,
    streamType: isStreamType(streamType) ? streamType : "ticket",
    streamId: encoded.subject,
    streamVersion: encoded.streamversion,
    schemaVersion: eventVersions.currentVersion(event._tag),
    position: encoded.position,
    occurredAt: encoded.time,
    principal: {
      id: encoded.principalid,
      role: encoded.principalrole,
      ...(encoded.principalname === undefined ? {} : { name: encoded.principalname }),
      ...(encoded.principalemail === undefined ? {} : { email: encoded.principalemail })
    },
    commandId: encoded.commandid,
    correlationId: encoded.correlationid,
    causationId: encoded.causationid ?? null,
    traceparent: encoded.traceparent ?? null,
    visibility: {
      audience: encoded.audience,
      requesterId: encoded.requesterid,
      before: facts(encoded.beforestatus, encoded.beforeassigneeid, encoded.beforerequesterid),
      after: facts(encoded.afterstatus, encoded.afterassigneeid, encoded.afterrequesterid)
    },
    event
  }))
}

const facts = (
  status: TicketStatus | undefined,
  assigneeId: PrincipalId | undefined,
  requesterId: PrincipalId | undefined
): TicketFacts | null =>
  status === undefined || requesterId === undefined ? null : { status, assigneeId: assigneeId ?? null, requesterId }
