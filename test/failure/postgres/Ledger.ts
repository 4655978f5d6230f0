// What writers sent and what each was told, in order: the ground on which "nothing acknowledged is lost, nothing happens twice, and
// nobody is told that nothing was done when it was" can be checked.
import { randomUUIDv7 } from "node:crypto"
import { setTimeout as pause } from "node:timers/promises"
import { command, query, until } from "../../flows/Clients.ts"
import type { Desk } from "../../flows/Desk.ts"
import type { Truth } from "./Truth.ts"
import type { Read } from "./World.ts"

export interface Told {
  readonly atMs: number
  readonly lastedMs: number
  /** `accepted`, or the tag of the refusal. */
  readonly tag: string
  readonly hasRetryAfter: boolean
}

interface Entry {
  readonly token: string
  readonly commandId: string
  readonly path: string
  readonly payload: unknown
  readonly told: Array<Told>
}

const nothingDone = ["WriteUnavailable", "Overloaded"]
const mayBeDone = ["OutcomeUnknown", "CommandInProgress"]
const pacePauseMs = 20
const repeatsMax = 3

export class Ledger {
  readonly entries: Array<Entry> = []
  readonly #desk: Desk
  readonly #reader: string
  #underWay = 0
  #held = false

  constructor(desk: Desk, reader: string) {
    this.#desk = desk
    this.#reader = reader
  }

  openTicket(token: string): Promise<string> {
    return this.#send(token, "/v1/tickets", { subject: "Outage", body: "Does it still work?" })
  }

  reply(token: string, ticketId: string): Promise<string> {
    return this.#send(token, `/v1/tickets/${ticketId}/replies`, { body: "It does." })
  }

  async read(id: string): Promise<Read> {
    const atMs = performance.now()
    try {
      const text = "query($id: ID!) { ticket(id: $id) { id } }"
      const { data, freshness } = await query<{ ticket: { id: string } | null }>(this.#desk, this.#reader, text, { id })
      return { atMs, lastedMs: performance.now() - atMs, source: data.ticket === null ? null : freshness.source }
    } catch {
      return { atMs, lastedMs: performance.now() - atMs, source: null }
    }
  }

  async visible(ids: ReadonlyArray<string>): Promise<void> {
    for (const id of ids) await until("a ticket is shown", async () => (await this.read(id)).source)
  }

  /** Nobody sends anything new from now on. */
  hold(): void {
    this.#held = true
  }

  goOn(): void {
    this.#held = false
  }

  async quiet(): Promise<void> {
    while (this.#underWay > 0) await pause(pacePauseMs)
  }

  get told(): ReadonlyArray<Told> {
    return this.entries.flatMap(({ told }) => told)
  }

  /** Answers that no client was promised, and refusals that do not say when to come back. */
  untypedAnswers(): ReadonlyArray<Told> {
    return this.told.filter(
      ({ hasRetryAfter, tag }) => tag !== "accepted" && !([...nothingDone, ...mayBeDone].includes(tag) && hasRetryAfter)
    )
  }

  /** Commands whose every answer said that nothing was done, and that are in the log. */
  async doneAlthoughRefused(truth: Truth): Promise<ReadonlyArray<string>> {
    const refused = this.entries.filter(({ told }) => told.every(({ tag }) => nothingDone.includes(tag)))
    const counts = await this.#counts(truth)
    return refused.map(({ commandId }) => commandId).filter((id) => counts.has(id))
  }

  /** Those who were told that nobody knows ask again, some times each. */
  async repeatUnknown(): Promise<void> {
    for (let round = 0; round < repeatsMax; round++) {
      const unknown = this.entries.filter(
        ({ told }) => told.at(-1)?.tag !== "accepted" && told.some(({ tag }) => tag === "OutcomeUnknown")
      )
      await Promise.all(unknown.map((entry) => this.#tell(entry)))
    }
  }

  /** Repeats, under the same id, everything that was not accepted, until it is. */
  async resolve(): Promise<void> {
    for (const entry of this.entries) {
      while (entry.told.at(-1)?.tag !== "accepted") {
        await this.#tell(entry)
        if (entry.told.at(-1)?.tag !== "accepted") await pause(pacePauseMs)
      }
    }
  }

  async notExactlyOnce(truth: Truth): Promise<ReadonlyArray<string>> {
    const counts = await this.#counts(truth)
    return this.entries.map(({ commandId }) => commandId).filter((id) => counts.get(id) !== 1)
  }

  async #counts(truth: Truth): Promise<ReadonlyMap<string, number>> {
    const rows = await truth.ask<{ id: string; n: number }>(
      `SELECT command_id AS id, count(*)::int AS n FROM core.event_log
        WHERE type IN ('TicketOpened', 'TicketReplied') AND command_id = ANY($1::uuid[]) GROUP BY 1`,
      [this.entries.map(({ commandId }) => commandId)]
    )
    return new Map(rows.map(({ id, n }) => [id, n]))
  }

  async unlessHeld<A>(act: () => Promise<A>): Promise<A> {
    while (this.#held) await pause(pacePauseMs)
    this.#underWay++
    return await act().finally(() => {
      this.#underWay--
    })
  }

  #send(token: string, path: string, payload: unknown): Promise<string> {
    return this.unlessHeld(async () => {
      const entry: Entry = { token, commandId: randomUUIDv7(), path, payload, told: [] }
      this.entries.push(entry)
      await this.#tell(entry)
      return entry.commandId
    })
  }

  async #tell({ commandId, path, payload, token, told }: Entry): Promise<void> {
    const atMs = performance.now()
    const answer = await command(this.#desk, token, path, payload, commandId).catch((cause: unknown) => cause)
    const lastedMs = performance.now() - atMs
    told.push({ atMs, lastedMs, ...judge(answer) })
  }
}

const judge = (answer: unknown): Pick<Told, "tag" | "hasRetryAfter"> => {
  if (typeof answer !== "object" || answer === null || !("status" in answer && "body" in answer && "headers" in answer))
    return { tag: `no answer: ${String(answer)}`, hasRetryAfter: false }
  const hasRetryAfter = answer.headers instanceof Headers && answer.headers.has("retry-after")
  if (answer.status === 200) return { tag: "accepted", hasRetryAfter }
  const { body } = answer
  const type = typeof body === "object" && body !== null && "type" in body ? String(body.type) : ""
  return { tag: type.split(":").at(-1) ?? `status ${answer.status}`, hasRetryAfter }
}
