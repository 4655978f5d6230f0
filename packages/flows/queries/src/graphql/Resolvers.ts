// What a field of the schema reads. Permission is asked here and in Nodes.ts, of the one table; what a reader may not see is answered like
// what does not exist.

import type { Derivative } from "@holdfast/contracts/attachment/Stages"
import { FileId, TicketId } from "@holdfast/contracts/Ids"
import type { TicketListName } from "@holdfast/contracts/ticket/Views"
import type { FileJson } from "@holdfast/database/ReadTables"
import { DownloadClaims, signLink } from "@holdfast/domain/attachment/DownloadLink"
import { mayReadAnalytics } from "@holdfast/domain/Permissions"
import { highlight, wordsOf } from "@holdfast/domain/ticket/SearchWords"
import { Queries } from "@holdfast/resilience/Limits"
import { Duration, Schema } from "effect"
import { connection } from "./Connection.ts"
import {
  messageCursor,
  notificationCursor,
  parseMessageCursor,
  parseNotificationCursor,
  parseSearchCursor,
  parseTicketCursor,
  searchCursor
} from "./Cursors.ts"
import { badInput, forbidden, versionNotReached } from "./Errors.ts"
import {
  type AttachmentNode,
  isShownFile,
  mayReadFile,
  mayReadTicket,
  messageNode,
  type NotificationNode,
  notificationNode,
  type TicketNode,
  ticketNode,
  wayOf
} from "./Nodes.ts"
import type { RequestContext } from "./RequestContext.ts"

interface PageArguments {
  readonly first: number | null
  readonly after?: string | null
}

const isTicketId = Schema.is(TicketId)
const isFileId = Schema.is(FileId)

const pageSize = (first: number | null): number => {
  const size = first ?? Queries.pageDefault
  return size >= 0 && size <= Queries.pageMax ? size : badInput(`first must be from 0 to ${Queries.pageMax}.`)
}

export const instant = (value: unknown): string => {
  const valid = typeof value === "string" && /^\d{4}-\d{2}-\d{2}T[\d:.]+(Z|[+-]\d{2}:\d{2})$/.test(value)
  return valid && !Number.isNaN(Date.parse(value)) ? value : badInput("A DateTime is an ISO 8601 instant.")
}

export const me = (_: unknown, __: unknown, { viewer }: RequestContext) => ({
  id: viewer.id,
  role: viewer.role,
  name: viewer.name ?? null,
  email: viewer.email ?? null
})

export const tickets = (
  _: unknown,
  { after, first, list }: PageArguments & { readonly list: TicketListName },
  context: RequestContext
) => {
  const cursor = after == null ? null : parseTicketCursor(after)
  return context.page({ list, first: pageSize(first), after: cursor, withCount: false })
}

/** Counted only when asked for. */
export const totalCount = async ({ list }: { readonly list: TicketListName }, _: unknown, context: RequestContext) =>
  (await context.page({ list, first: 0, after: null, withCount: true })).counted

export const ticket = async (
  _: unknown,
  { atLeastVersion, id }: { readonly id: string; readonly atLeastVersion?: number | null },
  context: RequestContext
): Promise<TicketNode | null> => {
  if (!isTicketId(id)) return null
  const record = await reached(
    () => context.ticket(id),
    () => context.forgetTicket(id),
    (held) => held?.ticket.version ?? 0,
    atLeastVersion ?? 0,
    context
  )
  return record === null ? null : ticketNode(context.viewer, record)
}

/** Looks again until the version is there, for a bounded time and a bounded number of requests at once. */
const reached = async <A>(
  read: () => Promise<A>,
  forget: () => void,
  versionOf: (value: A) => number,
  wanted: number,
  context: RequestContext
): Promise<A> => {
  const value = await read()
  if (versionOf(value) >= wanted) return value
  // The reference executor runs after a failed plan: what was waited for in vain is not waited for again.
  if (context.hasWaited) throw versionNotReached(wanted)
  return context.environment.waiters.wait(async (deadlineMs) => {
    while (Date.now() < deadlineMs) {
      await new Promise((done) => setTimeout(done, Duration.toMillis(Queries.versionPoll)))
      forget()
      const newer = await read()
      if (versionOf(newer) >= wanted) return newer
    }
    context.hasWaited = true
    throw versionNotReached(wanted)
  }, versionNotReached(wanted))
}

export const conversation = async (
  ticketNode: TicketNode,
  { after, first }: PageArguments,
  context: RequestContext
) => {
  const from = after == null ? null : parseMessageCursor(after)
  const page = await context.conversation({
    ticketId: TicketId.make(ticketNode.id),
    first: pageSize(first),
    after: from
  })
  const edges = page.messages.map((message) => ({
    cursor: messageCursor(message.id),
    node: messageNode(context.viewer, message)
  }))
  return connection(edges, page.hasNextPage, from !== null || (page.truncated ?? false))
}

export const file = async (
  _: unknown,
  { atLeastVersion, id }: { readonly id: string; readonly atLeastVersion?: number | null },
  context: RequestContext
) => {
  if (!isFileId(id)) return null
  const found = await reached(
    () => context.file(id),
    () => context.forgetFile(id),
    (held) => held?.version ?? 0,
    atLeastVersion ?? 0,
    context
  )
  return found === null ? null : readableFile(found, context)
}

/** The reader sees the attachment, or there would be no node. */
export const attachedFile = async (
  { attachedByStaff, fileId }: AttachmentNode,
  _: unknown,
  context: RequestContext
) => {
  const found = await context.file(FileId.make(fileId))
  if (found === null) return null
  return attachedByStaff || mayReadFile(context.viewer, found) ? fileNode(found, context) : null
}

const readableFile = async (found: FileJson, context: RequestContext) => {
  const { environment, viewer } = context
  if (mayReadFile(viewer, found)) return fileNode(found, context)
  const records = await context.read(environment.reads.ticketsShowingFile(FileId.make(found.id), viewer.id))
  return records.some((record) => isShownFile(viewer, found.id, record)) ? fileNode(found, context) : null
}

const fileNode = (found: FileJson, context: RequestContext) => ({
  ...found,
  ...wayOf(context.viewer, found),
  downloadUrl: found.content === null ? null : downloadUrl(found, found.content, found.name, context),
  derivatives: found.derivatives.map((derivative) => ({
    ...derivative,
    downloadUrl: downloadUrl(found, derivative, derivativeName(found.name, derivative), context)
  }))
})

const derivativeName = (name: string, { kind }: typeof Derivative.Encoded): string => `${kind}-${name}`.slice(0, 255)

/** Null while the file is not released, and where the desk has no key to sign with. */
const downloadUrl = (
  found: FileJson,
  content: { readonly sha256: string; readonly mediaType: string },
  name: string,
  { environment, viewer }: RequestContext
): string | null => {
  if (found.state !== "released" || environment.downloads === null) return null
  const { key, publicUrl } = environment.downloads
  const lifetimeSeconds = Duration.toSeconds(Queries.downloadLinkLifetime)
  const expiresAtSeconds = Math.floor(Date.now() / 1000) + lifetimeSeconds
  const claims = decodeClaims({
    fileId: found.id,
    sha256: content.sha256,
    mediaType: content.mediaType,
    name,
    principalId: viewer.id,
    expiresAtSeconds
  })
  return `${publicUrl}/download/${found.id}?${signLink(key, claims)}`
}

const decodeClaims = Schema.decodeUnknownSync(DownloadClaims)

const highlightLengthMax = 200

export const search = async (
  _: unknown,
  { after, first, query }: PageArguments & { readonly query: string },
  context: RequestContext
) => {
  const size = pageSize(first)
  const offset = after == null ? 0 : parseSearchCursor(after)
  const words = wordsOf(query.slice(0, 500), Queries.searchWordsMax)
  const room = Math.max(0, Queries.searchResultsMax - offset)
  if (words.length === 0 || room === 0) return connection([], false, offset > 0)
  const { reader, viewer } = context
  const hits = await context.read(
    context.environment.reads.search({ words, reader, offset, first: Math.min(size, room) + 1 })
  )
  const shown = hits.slice(0, Math.min(size, room)).filter((hit) => mayReadTicket(viewer, hit))
  const edges = shown.map((hit, index) => ({
    cursor: searchCursor(offset + index + 1),
    node: { ticket: ticketNode(viewer, hit), highlights: highlight(hit.body, words, highlightLengthMax) }
  }))
  return connection(edges, hits.length > shown.length && room > size, offset > 0)
}

export const ticketVolume = (
  _: unknown,
  { fromHour, hours }: { readonly fromHour: string; readonly hours: number | null },
  context: RequestContext
) => {
  if (!mayReadAnalytics(context.viewer)) throw forbidden("Volumes are for staff.")
  const count = hours ?? 24
  if (count < 1 || count > Queries.volumeHoursMax) badInput(`hours must be from 1 to ${Queries.volumeHoursMax}.`)
  return context.read(context.environment.reads.volume(Date.parse(fromHour), count))
}

export const notifications = async (
  _: unknown,
  { after, first, unreadOnly }: PageArguments & { readonly unreadOnly: boolean },
  context: RequestContext
) => {
  const before = after == null ? null : parseNotificationCursor(after)
  const { environment, reader, viewer } = context
  const page = await context.read(
    environment.reads.notifications({ reader, first: pageSize(first), before, unreadOnly })
  )
  const edges = page.notifications.map((record) => ({
    cursor: notificationCursor(record.position),
    node: notificationNode(viewer, record)
  }))
  return { ...connection(edges, page.hasNextPage, before !== null), unreadCount: page.unreadCount }
}

export const notifiedTicket = async ({ ticketId }: NotificationNode, _: unknown, context: RequestContext) => {
  const record = ticketId === null ? null : await context.ticket(TicketId.make(ticketId))
  return record === null ? null : ticketNode(context.viewer, record)
}
