// The read database as a model in memory: what the projection saves in one transaction, and the queries over it.

import type { PersonRef } from "@holdfast/contracts/Principal"
import type {
  Conversation,
  ConversationRequest,
  FileJson,
  MessageJson,
  ReadChanges,
  Reader,
  SearchHit,
  SearchRequest,
  TicketJson,
  TicketPage,
  TicketPageRequest,
  TicketRecord,
  VolumeHour
} from "@holdfast/database/ReadTables"
import type { VolumeDelta } from "@holdfast/domain/analytics/Volume"
import { type Advance, type Applied, advance, type Progress, type Reached } from "@holdfast/resilience/Progress"
import { DateTime } from "effect"

interface Message {
  readonly message: MessageJson
  readonly requesterId: string
  readonly words: ReadonlyArray<string>
}

interface Person {
  readonly person: PersonRef
  readonly position: number
}

export class PostgresRead {
  readonly tickets = new Map<string, { readonly ticket: TicketJson; readonly subjectWords: ReadonlyArray<string> }>()
  readonly messages = new Map<string, Message>()
  readonly files = new Map<string, FileJson>()
  readonly people = new Map<string, Person>()
  readonly volumes = new Map<string, { opened: number; solved: number; replies: number }>()
  readonly inbox = new Set<string>()
  reached: Reached = { position: 0, asOfMs: 0 }
  #movedAtMs = 0
  #ahead: ReadonlyArray<Applied> = []

  get progress(): Progress {
    const { asOfMs, position } = this.reached
    return { position, asOfMs, movedAtMs: this.#movedAtMs, aheadFrom: this.#ahead[0]?.position ?? null }
  }

  save(changes: ReadChanges, change: Advance): void {
    for (const one of changes.tickets)
      if ((this.tickets.get(one.ticket.id)?.ticket.version ?? 0) < one.ticket.version) {
        const before = this.tickets.get(one.ticket.id)
        this.tickets.set(one.ticket.id, { ticket: one.ticket, subjectWords: before?.subjectWords ?? one.subjectWords })
      }
    for (const one of changes.messages) if (!this.messages.has(one.message.id)) this.messages.set(one.message.id, one)
    for (const file of changes.files)
      if ((this.files.get(file.id)?.version ?? 0) < file.version) this.files.set(file.id, file)
    for (const { person, position } of changes.people) {
      const held = this.people.get(person.id)
      if ((held?.position ?? -1) < position)
        this.people.set(person.id, { person: { ...held?.person, ...person }, position })
    }
    const after = advance({ reached: this.reached, ahead: this.#ahead }, change)
    const reached = after.reached ?? this.reached
    if (reached.position !== this.reached.position) this.#movedAtMs = change.nowMs
    this.reached = reached
    this.#ahead = after.ahead
  }

  /** False: it was counted before. */
  addVolume(eventId: string, { hour, opened, replies, solved }: VolumeDelta): boolean {
    if (this.inbox.has(eventId)) return false
    this.inbox.add(eventId)
    const key = DateTime.formatIso(hour)
    const held = this.volumes.get(key) ?? { opened: 0, solved: 0, replies: 0 }
    this.volumes.set(key, {
      opened: held.opened + opened,
      solved: held.solved + solved,
      replies: held.replies + replies
    })
    return true
  }

  page({ after, first, list, reader, withCount }: TicketPageRequest): TicketPage {
    const timeOf = (ticket: TicketJson) => Date.parse(reader.isStaff ? ticket.updatedAt : ticket.publicUpdatedAt)
    const inList = [...this.tickets.values()]
      .map(({ ticket }) => ticket)
      .filter((ticket) => isListed(ticket, list, reader))
    const sorted = inList
      .map((ticket) => ({ ticket, timeMs: timeOf(ticket) }))
      .filter(({ ticket, timeMs }) => after === null || isBelow(timeMs, ticket.id, after.updatedMs, after.id))
      .sort((a, b) => (isBelow(a.timeMs, a.ticket.id, b.timeMs, b.ticket.id) ? 1 : -1))
    return {
      tickets: sorted.slice(0, first).map(({ ticket }) => this.#record(ticket)),
      hasNextPage: sorted.length > first,
      totalCount: withCount ? inList.length : null
    }
  }

  ticketsByIds(ids: ReadonlyArray<string>): ReadonlyArray<TicketRecord> {
    return ids.flatMap((id) => {
      const held = this.tickets.get(id)
      return held === undefined ? [] : [this.#record(held.ticket)]
    })
  }

  #record(ticket: TicketJson): TicketRecord {
    const { assigneeId } = ticket
    if (assigneeId === null) return { ticket, assignee: null }
    return { ticket, assignee: this.people.get(assigneeId)?.person ?? { id: assigneeId } }
  }

  conversation({ after, first, internal, ticketId }: ConversationRequest): Conversation {
    const all = [...this.messages.values()]
      .map(({ message }) => message)
      .filter((message) => message.ticketId === ticketId && (internal || message.audience === "public"))
      .sort((a, b) => a.version - b.version)
    const from = all.findIndex(({ id }) => id === after) + 1
    return { messages: all.slice(from, from + first), hasNextPage: all.length > from + first }
  }

  ticketsShowingFile(fileId: string, requesterId: string): ReadonlyArray<TicketRecord> {
    return [...this.tickets.values()]
      .map(({ ticket }) => ticket)
      .filter(
        ({ attachments, requester }) =>
          requester.id === requesterId && attachments.some((one) => one.fileId === fileId && one.audience === "public")
      )
      .map((ticket) => this.#record(ticket))
  }

  search({ first, offset, reader, words }: SearchRequest): ReadonlyArray<SearchHit> {
    const hits = new Map<string, MessageJson>()
    for (const { message, requesterId, words: own } of this.messages.values()) {
      if (!reader.isStaff && (requesterId !== reader.id || message.audience !== "public")) continue
      if (words.every((word) => own.some((one) => one.startsWith(word)))) hits.set(message.ticketId, message)
    }
    return [...hits]
      .slice(offset, offset + first)
      .flatMap(([id, message]) => this.ticketsByIds([id]).map((record) => ({ ...record, body: message.body, rank: 1 })))
  }

  volume(fromMs: number, hours: number): ReadonlyArray<VolumeHour> {
    return [...this.volumes]
      .map(([hour, counts]) => ({ hour, ...counts }))
      .filter(({ hour }) => Date.parse(hour) >= fromMs && Date.parse(hour) < fromMs + hours * 3_600_000)
      .sort((a, b) => (a.hour < b.hour ? -1 : 1))
  }
}

const isBelow = (timeMs: number, id: string, thanMs: number, thanId: string): boolean =>
  timeMs === thanMs ? id < thanId : timeMs < thanMs

const isListed = (ticket: TicketJson, list: TicketPageRequest["list"], reader: Reader): boolean => {
  if (!reader.isStaff && ticket.requester.id !== reader.id) return false
  const isUnsolved = ticket.status !== "solved" && ticket.status !== "closed"
  switch (list) {
    case "all":
      return true
    case "open":
      return isUnsolved
    case "unassigned":
      return isUnsolved && ticket.assigneeId === null
    case "solved":
      return !isUnsolved
    case "mine":
      return isUnsolved && ticket.assigneeId === reader.id
  }
}
