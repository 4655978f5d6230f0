// Where a page ended, as an opaque string. A cursor carries only what its reader has seen; a broken one is the client's mistake.
import { MessageId, TicketId } from "@holdfast/contracts/Ids"
import type { TicketCursor } from "@holdfast/database/ReadTables"
import { Schema } from "effect"
import { badInput } from "./Errors.ts"

const encode = (text: string): string => Buffer.from(text).toString("base64url")
const decode = (cursor: string): string => Buffer.from(cursor, "base64url").toString()
const isTicketId = Schema.is(TicketId)
const isMessageId = Schema.is(MessageId)

export const ticketCursor = ({ id, updatedMs }: TicketCursor): string => encode(`t:${updatedMs}:${id}`)

export const parseTicketCursor = (cursor: string): TicketCursor => {
  const [kind, updatedMs, id, ...rest] = decode(cursor).split(":")
  const isWhole = kind === "t" && rest.length === 0 && /^[0-9]{1,15}$/.test(updatedMs ?? "")
  return isWhole && isTicketId(id)
    ? { updatedMs: Number(updatedMs), id }
    : badInput("after is not a cursor of this list.")
}

export const messageCursor = (id: string): string => encode(`m:${id}`)

export const parseMessageCursor = (cursor: string): MessageId => {
  const [kind, id] = decode(cursor).split(":")
  return kind === "m" && isMessageId(id) ? id : badInput("after is not a cursor of a conversation.")
}

export const notificationCursor = (position: number): string => encode(`n:${position}`)

export const parseNotificationCursor = (cursor: string): number => {
  const [kind, position] = decode(cursor).split(":")
  return kind === "n" && /^[0-9]{1,15}$/.test(position ?? "")
    ? Number(position)
    : badInput("after is not a cursor of notifications.")
}

export const searchCursor = (offset: number): string => encode(`s:${offset}`)

export const parseSearchCursor = (cursor: string): number => {
  const [kind, offset] = decode(cursor).split(":")
  return kind === "s" && /^[0-9]{1,4}$/.test(offset ?? "")
    ? Number(offset)
    : badInput("after is not a cursor of a search.")
}
