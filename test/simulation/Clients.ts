// The people: customers and agents who open tickets, answer, note, claim, assign, attach, look things up and load files up and down. When they
// do not know whether something was done, they repeat it under the same id until they know.
import { createHash } from "node:crypto"
import type { CommandError } from "@holdfast/contracts/CommandErrors"
import type { DeskCommand, DeskRefusal } from "@holdfast/contracts/Commands"
import type { Envelope } from "@holdfast/contracts/Envelope"
import {
  CommandId,
  CorrelationId,
  FileId,
  PrincipalId,
  Sha256,
  type StreamVersion,
  TicketId
} from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { TicketStatus } from "@holdfast/contracts/ticket/Status"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { applyTicket } from "@holdfast/domain/ticket/TicketView"
import { QueryExecutor } from "@holdfast/queries/graphql/Execute"
import { Context, Effect, Exit, Option } from "effect"
import type { Desk } from "./Desk.ts"
import { FileDoor } from "./FileDoor.ts"
import { malware, secretWord } from "./Ledger.ts"
import { ask, type Disconnected } from "./Link.ts"
import { receiptKey } from "./PostgresCore.ts"
import { urgentWord } from "./Processes.ts"
import type { SimulatedProcess } from "./SimulatedProcess.ts"

const person = (id: string, role: Principal["role"]): Principal => ({
  id: PrincipalId.make(id),
  role,
  name: id,
  email: `${id}@desk.test`
})

export const people: ReadonlyArray<Principal> = [
  person("ada", "agent"),
  person("bob", "agent"),
  person("carl", "customer"),
  person("dora", "customer"),
  person("sue", "supervisor")
]

interface KnownTicket {
  readonly id: TicketId
  readonly requesterId: PrincipalId
}

interface KnownFile {
  readonly id: FileId
  readonly ownerId: PrincipalId
}

export class Clients {
  readonly process: SimulatedProcess
  readonly tickets: Array<KnownTicket> = []
  readonly files: Array<KnownFile> = []
  readonly #desk: Desk
  /** Of a line to the desk, per answer. */
  lost = 0.03
  #stepsLeft: number
  #busy = 0
  #words = 0

  constructor(desk: Desk) {
    this.#desk = desk
    this.#stepsLeft = desk.plan.steps
    this.process = desk.world.process("clients")
  }

  get isIdle(): boolean {
    return this.#busy === 0
  }

  get stepsDone(): number {
    return this.#desk.plan.steps - Math.max(0, this.#stepsLeft)
  }

  /** All of them, until the steps are used up. */
  begin(thinkMs: number): void {
    for (const principal of people) {
      this.#busy++
      this.process.post(() => {
        this.process.fork(this.#live(principal, thinkMs)).addObserver((exit) => {
          this.#busy--
          if (Exit.isFailure(exit)) this.#desk.world.violate("nothing dies", `${principal.id}: ${exit.cause}`)
        })
      })
    }
  }

  /** No new steps; what was begun is ended. */
  end(): void {
    this.#stepsLeft = 0
    this.lost = 0
  }

  #live(principal: Principal, thinkMs: number): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      while (this.#stepsLeft-- > 0) {
        yield* this.#step(principal)
        yield* Effect.sleep(1 + this.#seed.next() * 2 * thinkMs)
      }
    })
  }

  get #seed() {
    return this.#desk.world.seed
  }

  #step(principal: Principal): Effect.Effect<void> {
    const chance = this.#seed.next()
    const { fileGateways, queryApis } = this.#desk
    if (chance < 0.22 && queryApis.length > 0) return this.#look(principal)
    if (chance > 0.9 && fileGateways.length > 0) return this.#upload(principal)
    if (chance > 0.84 && fileGateways.length > 0) return this.#download(principal)
    return this.#issue(principal, this.#command(principal))
  }

  #word(): string {
    return `w${++this.#words}`
  }

  /** Mostly something that this person may do. */
  #command(principal: Principal): DeskCommand {
    const own = this.tickets.filter(({ requesterId }) => principal.role !== "customer" || requesterId === principal.id)
    if (own.length === 0 || this.#seed.chance(0.18)) return this.#opening()
    const { id: ticketId } = this.#seed.chance(0.9) ? this.#seed.pick(own) : this.#seed.pick(this.tickets)
    const file = this.files.length > 0 && this.#seed.chance(0.2) ? this.#seed.pick(this.files) : null
    if (file !== null) return { _tag: "AttachFile", ticketId, fileId: file.id, name: "file.txt" }
    const body = `${this.#word()} said`
    if (principal.role === "customer") return { _tag: "ReplyToTicket", ticketId, body }
    const of: ReadonlyArray<() => DeskCommand> = [
      () => ({ _tag: "ReplyToTicket", ticketId, body }),
      () => ({ _tag: "AddNote", ticketId, body: `${secretWord} ${body}` }),
      () => ({ _tag: "AddNote", ticketId, body: `${secretWord} ${body}` }),
      () => ({ _tag: "ClaimTicket", ticketId }),
      () => ({ _tag: "AssignTicket", ticketId, assigneeId: this.#seed.pick(people).id }),
      () => ({ _tag: "ChangeTicketStatus", ticketId, status: this.#seed.pick(TicketStatus.literals) })
    ]
    return this.#seed.pick(of)()
  }

  #opening(): DeskCommand {
    const urgent = this.#seed.chance(0.4) ? ` ${urgentWord}` : ""
    return { _tag: "OpenTicket", subject: `about ${this.#word()}${urgent}`, body: `${this.#word()} is broken` }
  }

  /** Until it is known what became of it, or, now and then, not at all. */
  #issue(principal: Principal, command: DeskCommand): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const commandId = CommandId.make(this.#seed.uuid())
      const expected = this.#expectedVersion(command)
      let isNothingDone = true
      for (;;) {
        const exit = yield* Effect.exit(
          ask(this.process, this.#seed.pick(this.#desk.commandApis), this.lost, (services) =>
            Context.get(services, CommandBus).execute({
              principal,
              command,
              meta: { commandId, ...expected },
              causationId: Option.none()
            })
          )
        )
        if (Exit.isSuccess(exit)) {
          this.#desk.ledger.accepted(this.#desk.servers.core, principal, exit.value)
          if (command._tag === "OpenTicket")
            this.tickets.push({ id: TicketId.make(exit.value.streamId), requesterId: principal.id })
          return
        }
        const error = Exit.findErrorOption(exit)
        if (Option.isNone(error)) return this.#desk.world.violate("nothing dies", `${command._tag}: ${exit.cause}`)
        const verdict = verdictOf(error.value)
        this.#desk.world.coverage.hit(`answered ${error.value._tag}`)
        if (verdict === "unknown") isNothingDone = false
        if (isNothingDone) this.#notDone(principal, commandId, error.value._tag)
        if (error.value._tag === "CommandIdReused")
          this.#desk.world.violate("applied once", `${commandId} is said to be another command`)
        if (verdict === "final" || (this.#stepsLeft > 0 && this.#seed.chance(0.1))) return
        yield* Effect.sleep(20 + this.#seed.next() * 300)
      }
    })
  }

  #expectedVersion(command: DeskCommand): { readonly expectedVersion?: StreamVersion } {
    if (!("ticketId" in command) || !this.#seed.chance(0.1)) return {}
    const version = this.#desk.servers.core.aggregates.get(command.ticketId)?.version
    return version === undefined ? {} : { expectedVersion: version }
  }

  #notDone(principal: Principal, commandId: CommandId, tag: string): void {
    if (this.#desk.servers.core.receipts.has(receiptKey(principal.id, commandId)))
      this.#desk.world.violate("refused is not done", `${commandId} was answered with ${tag} and is there`)
  }

  #look(viewer: Principal): Effect.Effect<void> {
    const ticket = this.tickets.length > 0 ? this.#seed.pick(this.tickets) : null
    const asked = this.#seed.below(3)
    if (asked === 0 || ticket === null)
      return Effect.asVoid(this.#query(viewer, listQuery, { list: this.#seed.pick(lists) }))
    if (asked === 1)
      return Effect.asVoid(this.#query(viewer, searchQuery, { query: this.#seed.pick([secretWord, "broken", "w1"]) }))
    return Effect.map(this.#query(viewer, ticketQuery, { id: ticket.id }), (data) => this.#checkTicket(ticket.id, data))
  }

  #query(viewer: Principal, query: string, variables: Record<string, unknown>): Effect.Effect<unknown> {
    const member = this.#seed.pick(this.#desk.queryApis)
    const { coverage } = this.#desk.world
    return ask(this.process, member, this.lost, (services) => {
      this.#desk.world.expectPromises()
      const request = { query, variables, operationName: null, persistedHash: null }
      return Effect.promise(() => Context.get(services, QueryExecutor).answer(viewer, request, {}))
    }).pipe(
      Effect.map(({ response }) => {
        const text = JSON.stringify(response)
        this.#desk.ledger.shown(viewer, text, "a query")
        if (viewer.role === "customer") this.#checkOwn(viewer, text)
        coverage.hit(`query ${/"source":"(\w+)"/.exec(text)?.[1] ?? "unavailable"}`)
        return "data" in response ? response.data : null
      }),
      Effect.catch(() => Effect.succeed(null))
    )
  }

  #checkOwn(viewer: Principal, text: string): void {
    for (const [, id] of text.matchAll(/"requester":\{"id":"(\w+)"/g))
      if (id !== viewer.id) this.#desk.world.violate("notes stay inside", `${viewer.id} was shown a ticket of ${id}`)
  }

  /** What is shown of a version is what the log says of it. */
  #checkTicket(id: string, data: unknown): void {
    const shown = typeof data === "object" && data !== null && "ticket" in data ? data.ticket : null
    if (typeof shown !== "object" || shown === null || !("version" in shown) || typeof shown.version !== "number")
      return
    const { version } = shown
    const history = (this.#desk.servers.core.streams.get(id) ?? []).filter(
      ({ streamVersion }) => streamVersion <= version
    )
    const folded = history.reduce<ReturnType<typeof applyTicket>>((view, one: Envelope) => applyTicket(view, one), null)
    if (folded?.version !== version || !("status" in shown) || folded.status !== shown.status)
      this.#desk.world.violate("view sync", `${id} is shown at version ${version} as ${JSON.stringify(shown)}`)
  }

  #upload(owner: Principal): Effect.Effect<void> {
    const bytes = this.#content()
    const sha256 = createHash("sha256").update(bytes).digest("hex")
    const fileId = FileId.make(this.#seed.uuid())
    const declaredType = bytes.subarray(1, 4).toString() === "PNG" ? "image/png" : "text/plain"
    const file = {
      fileId,
      name: "file.txt",
      sizeBytes: bytes.length,
      sha256: Sha256.make(sha256),
      declaredType,
      ownerId: owner.id
    }
    const entry = { file, correlationId: CorrelationId.make(this.#seed.uuid()), traceparent: null }
    const attempt = ask(this.process, this.#seed.pick(this.#desk.fileGateways), this.lost, (services) =>
      Context.get(services, FileDoor).upload(entry, bytes)
    )
    return Effect.gen({ self: this }, function* () {
      for (;;) {
        const exit = yield* Effect.exit(attempt)
        if (Exit.isSuccess(exit)) {
          this.files.push({ id: fileId, ownerId: owner.id })
          this.#desk.ledger.uploads.set(fileId, { sha256, isBad: bytes.includes(malware) })
          return this.#desk.world.coverage.hit("uploaded")
        }
        this.#desk.world.coverage.hit("upload refused")
        if (this.#seed.chance(0.1)) return
        yield* Effect.sleep(50 + this.#seed.next() * 300)
      }
    })
  }

  #content(): Buffer {
    const text = Buffer.from(`a file of ${this.#word()}`)
    return this.#seed.pick([text, text, Buffer.concat([text, malware]), Buffer.concat([png, text]), Buffer.alloc(0)])
  }

  #download(viewer: Principal): Effect.Effect<void> {
    if (this.files.length === 0) return Effect.void
    const { id } = this.#seed.pick(this.files)
    return Effect.gen({ self: this }, function* () {
      let url: string | undefined
      // Patient for a while: it may not be released yet.
      for (let looks = 0; looks < looksMax && url === undefined; looks++) {
        const data = yield* this.#query(viewer, fileQuery, { id })
        url = /"downloadUrl":"([^"]+)"/.exec(JSON.stringify(data))?.[1]
        if (url === undefined) yield* Effect.sleep(300)
      }
      if (url === undefined) return
      const got = yield* Effect.exit(
        ask(this.process, this.#seed.pick(this.#desk.fileGateways), this.lost, (services) =>
          Context.get(services, FileDoor).download(url)
        )
      )
      if (Exit.isSuccess(got) && got.value.status === 200)
        this.#desk.ledger.served(this.#desk.servers.core, id, got.value.bytes)
    })
  }
}

const looksMax = 3

type Answered = DeskRefusal | CommandError | Disconnected

/** Whether it is over, was certainly not done, or nobody knows. */
const verdictOf = (error: Answered): "final" | "not done" | "unknown" => {
  switch (error._tag) {
    case "Disconnected":
      return error.isCertain ? "not done" : "unknown"
    case "OutcomeUnknown":
    case "CommandInProgress":
      return "unknown"
    case "WriteUnavailable":
    case "Overloaded":
    case "RateLimited":
      return "not done"
    default:
      return "final"
  }
}

const lists = ["all", "open", "unassigned", "solved", "mine"]
const ticketFields =
  "requester { id } status version messageCount attachments { fileId audience } conversation(first: 20) { nodes { body audience } }"
const listQuery = `query ($list: TicketListName!) { tickets(list: $list, first: 20) { nodes { id ${ticketFields} } } }`
const searchQuery = `query ($query: String!) { search(query: $query) { nodes { ticket { id requester { id } } highlights { text } } } }`
const ticketQuery = `query ($id: ID!) { ticket(id: $id) { id ${ticketFields} } }`
const fileQuery = "query ($id: ID!) { file(id: $id) { id state downloadUrl } }"

/** One pixel. */
const png = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64"
)
