// What the resolvers of one request share: who reads, the reads themselves batched and each asked once, and the freshness of everything
// that was read. An answer made of several reads is as fresh as its stalest.
import type { FileId, TicketId } from "@holdfast/contracts/Ids"
import { isStaff, type Principal } from "@holdfast/contracts/Principal"
import type {
  Conversation,
  ConversationRequest,
  FileJson,
  Reader,
  TicketPageRequest,
  TicketRecord
} from "@holdfast/database/ReadTables"
import { Queries } from "@holdfast/resilience/Limits"
import DataLoader from "dataloader"
import type { Effect, Redacted } from "effect"
import { type Answer, type ReadsShape, ReadUnavailable } from "../Reads.ts"
import type { SharedReads } from "../SharedReads.ts"
import { readUnavailable } from "./Errors.ts"
import { TicketConnection } from "./TicketConnection.ts"
import type { Waiters } from "./Waiters.ts"

export interface Downloads {
  readonly key: Redacted.Redacted<string>
  readonly publicUrl: string
}

export interface Environment {
  readonly reads: ReadsShape
  readonly pages: SharedReads<Answer<TicketConnection>>
  readonly downloads: Downloads | null
  readonly waiters: Waiters
  /** Runs an effect as part of this request's trace. */
  readonly run: <A>(effect: Effect.Effect<A, ReadUnavailable>) => Promise<A>
}

export interface FreshnessJson {
  readonly source: "live" | "cached"
  readonly asOf: string
  readonly position: number
}

export class RequestContext {
  readonly viewer: Principal
  readonly environment: Environment
  readonly reader: Reader
  /** For a version that did not come. */
  hasWaited = false
  #freshness: Omit<Answer<unknown>, "value"> | null = null
  #tickets: DataLoader<TicketId, TicketRecord | null> | null = null
  #files: DataLoader<FileId, FileJson | null> | null = null
  #conversations: DataLoader<ConversationRequest, Conversation, string> | null = null

  constructor(viewer: Principal, environment: Environment) {
    this.viewer = viewer
    this.environment = environment
    // What all staff see alike is read under one name, so that it can be shared.
    this.reader = { id: viewer.id, isStaff: isStaff(viewer) }
  }

  /** Null: nothing was read. */
  get freshness(): FreshnessJson | null {
    if (this.#freshness === null) return null
    const { asOfMs, position, source } = this.#freshness
    return { source, asOf: new Date(asOfMs).toISOString(), position }
  }

  async read<A>(effect: Effect.Effect<Answer<A>, ReadUnavailable>): Promise<A> {
    return this.#note(await this.environment.run(effect).catch(asGraphqlError))
  }

  page(request: Omit<TicketPageRequest, "reader">): Promise<TicketConnection> {
    const { environment, reader, viewer } = this
    // Who has the same key is shown the same.
    const whose = reader.isStaff && request.list !== "mine" ? "staff" : reader.id
    const key = JSON.stringify([whose, reader.isStaff, request])
    const ask = async () => {
      const answer = await environment.run(environment.reads.tickets({ ...request, reader }))
      return { ...answer, value: new TicketConnection(viewer, request, answer.value) }
    }
    return environment.pages.read(key, ask).then((answer) => this.#note(answer), asGraphqlError)
  }

  ticket(id: TicketId): Promise<TicketRecord | null> {
    this.#tickets ??= new DataLoader<TicketId, TicketRecord | null>(
      async (ids) => {
        const found = await this.read(this.environment.reads.ticketsByIds(ids))
        const byId = new Map(found.map((record) => [record.ticket.id, record]))
        return ids.map((one) => byId.get(one) ?? null)
      },
      { maxBatchSize: Queries.pageMax }
    )
    return this.#tickets.load(id)
  }

  /** The next one who asks reads it again. */
  forgetTicket(id: TicketId): void {
    this.#tickets?.clear(id)
  }

  forgetFile(id: FileId): void {
    this.#files?.clear(id)
  }

  file(id: FileId): Promise<FileJson | null> {
    this.#files ??= new DataLoader<FileId, FileJson | null>(
      async (ids) => {
        const found = await this.read(this.environment.reads.files(ids))
        const byId = new Map(found.map((file) => [file.id, file]))
        return ids.map((one) => byId.get(one) ?? null)
      },
      { maxBatchSize: Queries.pageMax }
    )
    return this.#files.load(id)
  }

  conversation(request: Omit<ConversationRequest, "internal">): Promise<Conversation> {
    this.#conversations ??= new DataLoader<ConversationRequest, Conversation, string>(
      (requests) => this.read(this.environment.reads.conversations(requests)),
      {
        maxBatchSize: Queries.pageMax,
        cacheKeyFn: ({ after, first, ticketId }) => `${ticketId}/${after}/${first}`
      }
    )
    return this.#conversations.load({ ...request, internal: this.reader.isStaff })
  }

  #note<A>(answer: Answer<A>): A {
    const before = this.#freshness
    this.#freshness =
      before === null
        ? answer
        : {
            source: before.source === "cached" ? "cached" : answer.source,
            asOfMs: Math.min(before.asOfMs, answer.asOfMs),
            position: Math.min(before.position, answer.position)
          }
    return answer.value
  }
}

const asGraphqlError = (error: unknown): never => {
  throw error instanceof ReadUnavailable ? readUnavailable(error.retryAfterMs) : error
}
