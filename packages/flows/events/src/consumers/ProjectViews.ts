// The consumer group `views`: folds events into the read database. Nothing is locked while it folds: what is saved is kept only where it
// is newer than what is there, and the fold gives the same view to everyone, so a second writer or a redelivery changes nothing.
import type { Consumer } from "@holdfast/broker/Consumer"
import { FileView } from "@holdfast/contracts/attachment/Views"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { FileId, TicketId } from "@holdfast/contracts/Ids"
import { MessageView, TicketView } from "@holdfast/contracts/ticket/Views"
import type { EventLog } from "@holdfast/database/EventLog"
import {
  type FileJson,
  noChanges,
  type ReadChanges,
  ReadProjection,
  type TicketJson
} from "@holdfast/database/ReadTables"
import { applyFile } from "@holdfast/domain/attachment/FileView"
import { allWords } from "@holdfast/domain/ticket/SearchWords"
import { applyTicket, messageOf } from "@holdfast/domain/ticket/TicketView"
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { Notifications, Views } from "@holdfast/resilience/Limits"
import { Clock, DateTime, Duration, Effect, Schema } from "effect"
import { batched } from "./Batch.ts"
import { continuing } from "./Missing.ts"
import { notificationsIn, seenIn } from "./Notifications.ts"
import { peopleIn } from "./People.ts"
import { adviceFor, GapWatch } from "./Tend.ts"

export const projectViews = Effect.gen(function* () {
  const context = yield* Effect.context<ReadProjection | EventLog>()
  const handle = yield* batched((envelopes) => Effect.provide(project(envelopes), context))
  return { group: "views", handle } satisfies Consumer
})

/** One round: says that the views are current, or passes a gap. */
export const tendViews = Effect.fnUntraced(function* (watch: GapWatch) {
  const projection = yield* ReadProjection
  const advice = yield* adviceFor(yield* projection.progress, watch)
  if (advice !== null) yield* projection.save(noChanges, advice)
})

/** How many old notifications were removed. */
export const sweepNotifications = Effect.gen(function* () {
  const { sweepNotifications: sweep } = yield* ReadProjection
  const nowMs = yield* Clock.currentTimeMillis
  return yield* sweep(nowMs - Duration.toMillis(Notifications.keptFor), Notifications.sweepMax)
})

/** For as long as the process runs. */
export const keepViewsCurrent = Effect.suspend(() => {
  const watch = new GapWatch()
  return keepRunning("keeping the views current", Effect.forever(Effect.delay(tendViews(watch), Views.currentEvery)))
})

/** Applies events of any streams, each stream's in order; repeating any of them changes nothing. */
export const project = Effect.fn("ProjectViews.project")(function* (envelopes: ReadonlyArray<Envelope>) {
  const projection = yield* ReadProjection
  const streams = Map.groupBy(envelopes, ({ streamId }) => streamId)
  const ids = (type: Envelope["streamType"]) =>
    [...streams].filter(([, [first]]) => first?.streamType === type).map(([id]) => id)
  const held = yield* projection.load({
    tickets: ids("ticket").map((id) => TicketId.make(id)),
    files: ids("file").map((id) => FileId.make(id))
  })
  const tickets = new Map<string, TicketJson>(held.tickets.map((ticket) => [ticket.id, ticket]))
  const files = new Map<string, FileJson>(held.files.map((file) => [file.id, file]))
  const changes = yield* Effect.forEach(streams, ([id, batch]) => {
    switch (batch[0]?.streamType) {
      case "ticket":
        return foldTicket(tickets.get(id) ?? null, batch)
      case "file":
        return foldFile(files.get(id) ?? null, batch)
      default:
        return Effect.succeed({ ...noChanges, notificationsSeen: batch.flatMap(seenIn) })
    }
  })
  yield* projection.save(
    {
      tickets: changes.flatMap((one) => one.tickets),
      messages: changes.flatMap((one) => one.messages),
      files: changes.flatMap((one) => one.files),
      people: peopleIn(envelopes),
      notifications: changes.flatMap((one) => one.notifications),
      notificationsSeen: changes.flatMap((one) => one.notificationsSeen)
    },
    { applied: envelopes.map(appliedOf), nowMs: yield* Clock.currentTimeMillis }
  )
})

export const appliedOf = ({ occurredAt, position }: Envelope) => ({
  position,
  occurredAtMs: DateTime.toEpochMillis(occurredAt)
})

const decodeTicket = Schema.decodeUnknownSync(TicketView)
const encodeTicket = Schema.encodeSync(TicketView)
const encodeMessage = Schema.encodeSync(MessageView)
const decodeFile = Schema.decodeUnknownSync(FileView)
const encodeFile = Schema.encodeSync(FileView)

const foldTicket = Effect.fnUntraced(function* (held: TicketJson | null, batch: ReadonlyArray<Envelope>) {
  const events = yield* continuing(held?.version ?? 0, batch)
  const view = events.reduce(applyTicket, held === null ? null : decodeTicket(held))
  if (view === null || events.length === 0) return noChanges
  const subjectWords = allWords(`${view.number} ${view.subject}`)
  const messages = events.flatMap((event) => {
    const message = messageOf(event)
    if (message === null) return []
    return [
      {
        message: encodeMessage(message),
        requesterId: view.requester.id,
        words: [...subjectWords, ...allWords(message.body)]
      }
    ]
  })
  return {
    ...noChanges,
    tickets: [{ ticket: encodeTicket(view), subjectWords }],
    messages,
    notifications: events.flatMap(notificationsIn)
  } satisfies ReadChanges
})

const foldFile = Effect.fnUntraced(function* (held: FileJson | null, batch: ReadonlyArray<Envelope>) {
  const events = yield* continuing(held?.version ?? 0, batch)
  const view = events.reduce(applyFile, held === null ? null : decodeFile(held))
  if (view === null || events.length === 0) return noChanges
  return { ...noChanges, files: [encodeFile(view)], notifications: events.flatMap(notificationsIn) }
})
