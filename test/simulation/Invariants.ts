// What must hold once trouble is over and the desk has come to rest. Everything is held against the log, which is the truth.
import { FileView } from "@holdfast/contracts/attachment/Views"
import { MessageView, TicketDocument, TicketView } from "@holdfast/contracts/ticket/Views"
import { volumeOf } from "@holdfast/domain/analytics/Volume"
import { applyFile } from "@holdfast/domain/attachment/FileView"
import { fileKey, placesOf, ticketKey } from "@holdfast/domain/ticket/CachedTicket"
import { applyDocument, applyTicket, messageOf } from "@holdfast/domain/ticket/TicketView"
import { wants } from "@holdfast/webhook/Webhook"
import { DateTime, Schema } from "effect"
import type { Desk } from "./Desk.ts"
import { receiptKey } from "./PostgresCore.ts"
import { urgentWord } from "./Processes.ts"
import { internalEndpoint, publicEndpoint } from "./SimulatedTools.ts"

export const checkAll = (desk: Desk): void => {
  const { parts } = desk.plan
  acknowledgedArePresent(desk)
  uploadsWereRegistered(desk)
  if (parts.includes("views")) viewsAreFolds(desk)
  if (parts.includes("cache")) cacheIsFold(desk)
  if (parts.includes("analytics")) volumesAreCounted(desk)
  if (parts.includes("automation")) rulesFiredOnce(desk)
  if (parts.includes("webhooks")) webhooksWereSent(desk)
}

const acknowledgedArePresent = ({ ledger, servers, world }: Desk): void => {
  for (const [key, { answer }] of ledger.acknowledged) {
    const stored = servers.core.receipts.get(key)
    const stream = servers.core.streams.get(answer.streamId) ?? []
    const events = stream.filter(({ commandId, principal }) => receiptKey(principal.id, commandId) === key)
    if (stored === undefined) world.violate("acknowledged is durable", `${key} is gone`)
    else if (events.length !== stored.decided.events.length)
      world.violate("acknowledged is durable", `${key} has ${events.length} events in the log`)
  }
}

const encodeTicket = Schema.encodeSync(TicketView)
const encodeMessage = Schema.encodeSync(MessageView)
const encodeFile = Schema.encodeSync(FileView)
const encodeDocument = Schema.encodeSync(Schema.fromJsonString(TicketDocument))

const viewsAreFolds = (desk: Desk): void => {
  const { read } = desk.servers
  const same = (what: string, held: unknown, folded: unknown) => {
    if (JSON.stringify(held) !== JSON.stringify(folded))
      desk.world.violate("view sync", `${what} is ${JSON.stringify(held)} and not ${JSON.stringify(folded)}`)
  }
  for (const [id, stream] of desk.servers.core.streams) {
    if (stream[0]?.streamType === "file") {
      const folded = stream.reduce<FileView | null>(applyFile, null)
      same(`file ${id}`, read.files.get(id), folded === null ? undefined : encodeFile(folded))
      continue
    }
    const folded = stream.reduce<TicketView | null>(applyTicket, null)
    same(`ticket ${id}`, read.tickets.get(id)?.ticket, folded === null ? undefined : encodeTicket(folded))
    for (const message of stream.map(messageOf))
      if (message !== null)
        same(`message ${message.id}`, read.messages.get(message.id)?.message, encodeMessage(message))
  }
}

const cacheIsFold = ({ servers, world }: Desk): void => {
  for (const [id, stream] of servers.core.streams) {
    const isFile = stream[0]?.streamType === "file"
    const held = servers.cache.documents.get(isFile ? fileKey(id) : ticketKey(id))
    if (isFile) {
      const folded = stream.reduce<FileView | null>(applyFile, null)
      if (held !== undefined && folded !== null && held.body !== JSON.stringify(encodeFile(folded)))
        world.violate("cache sync", `file ${id} is ${held.body}`)
      continue
    }
    const document = stream.reduce<TicketDocument | null>(applyDocument, null)
    if (document === null) continue
    if (held?.body !== encodeDocument(document))
      world.violate("cache sync", `ticket ${id} is ${held?.body} and not ${encodeDocument(document)}`)
    const places = JSON.stringify(placesOf(document.ticket))
    if (JSON.stringify(held?.lists) !== places)
      world.violate("cache sync", `ticket ${id} stands in ${JSON.stringify(held?.lists)} and not in ${places}`)
  }
}

const volumesAreCounted = ({ servers, world }: Desk): void => {
  const counted = new Map<string, { opened: number; solved: number; replies: number }>()
  for (const envelope of servers.core.positioned) {
    const delta = volumeOf(envelope)
    if (delta === null) continue
    const key = DateTime.formatIso(delta.hour)
    const held = counted.get(key) ?? { opened: 0, solved: 0, replies: 0 }
    counted.set(key, {
      opened: held.opened + delta.opened,
      solved: held.solved + delta.solved,
      replies: held.replies + delta.replies
    })
  }
  for (const [hour, counts] of counted)
    if (JSON.stringify(servers.read.volumes.get(hour)) !== JSON.stringify(counts))
      world.violate(
        "reactions happen once",
        `${hour} counts ${JSON.stringify(servers.read.volumes.get(hour))} and not ${JSON.stringify(counts)}`
      )
}

const rulesFiredOnce = ({ servers, world }: Desk): void => {
  const automated = new Map<string, number>()
  for (const { decided } of servers.core.receipts.values())
    if (decided.principal.id === "automation" && decided.causationId !== null)
      automated.set(decided.causationId, (automated.get(decided.causationId) ?? 0) + 1)
  for (const { event, eventId, streamId } of servers.core.positioned) {
    if (event._tag !== "TicketOpened" || !event.subject.includes(urgentWord)) continue
    const state = servers.core.aggregates.get(streamId)?.state
    const isClosed = state !== undefined && "status" in state && state.status === "closed"
    const times = automated.get(eventId) ?? 0
    if (times !== 1 && !(times === 0 && isClosed))
      world.violate("reactions happen once", `the rule fired ${times} times for ${streamId}`)
  }
}

/** Queued once for each who wants it; a receiver that was away is tried again for days. */
const webhooksWereSent = ({ ledger, servers, world }: Desk): void => {
  for (const endpoint of [publicEndpoint, internalEndpoint]) {
    const wanted = servers.core.positioned.filter((envelope) => wants(endpoint, envelope)).map(({ eventId }) => eventId)
    const queued = servers.reactions.deliveries.get(endpoint.id) ?? new Map()
    const sent = ledger.webhooks.get(endpoint.id) ?? new Set()
    if (queued.size !== wanted.length || wanted.some((eventId) => !queued.has(eventId)))
      world.violate("reactions happen once", `${endpoint.id} has ${queued.size} of ${wanted.length} deliveries`)
    for (const [eventId, { state }] of queued)
      if (state === "delivered" && !sent.has(eventId))
        world.violate("reactions happen once", `${eventId} counts as delivered to ${endpoint.id} and was not`)
  }
}

const uploadsWereRegistered = ({ ledger, servers, world }: Desk): void => {
  for (const [fileId, { isBad }] of ledger.uploads) {
    const tags = (servers.core.streams.get(fileId) ?? []).map(({ event }) => event._tag)
    if (tags.filter((tag) => tag === "FileReceived").length !== 1)
      world.violate("acknowledged is durable", `upload ${fileId} came to ${tags}`)
    if (isBad && tags.includes("FileReleased")) world.violate("only clean bytes are served", `${fileId} was released`)
  }
}
