// Commands made while the desk cannot be reached, kept until it can, and sent in order. What `keep` has acknowledged is in the store, and
// goes out under its first commandId for as long as the desk knows it, so a crash at any moment loses nothing and does nothing twice.
// Commands on one stream (a ticket, a file) wait for the outcome of the one before; streams do not wait for each other.
import { type CommandName, type DeskCommandDefinition, commands as definitions } from "@holdfast/contracts/Commands"
import { Result, Schema } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import { backoffMs } from "./Backoff.ts"
import type { Client } from "./Client.ts"
import type { CommandOutcome, Commands, PayloadOf, RefusalOf, SendCommand } from "./Commands.ts"
import { Outbox as Limits } from "./Limits.ts"
import { type AttachOptions, attachingUpload, type OutboxUpload } from "./OutboxUpload.ts"
import { type Store, StoreUnavailable } from "./Store.ts"
import type { UploadSource } from "./Uploads.ts"

/** How a kept command ends. */
export type Settled<Refusal> =
  | Extract<CommandOutcome<Refusal>, { readonly status: "accepted" | "refused" | "unknown" }>
  /** Taken out by `discard`; with `mayBeDone` it had been sent before. */
  | { readonly status: "discarded"; readonly commandId: string; readonly mayBeDone: boolean }

export type Kept<Refusal> =
  /** It is in the store. `outcome` comes in this process or not at all: after a restart the outbox tells by events. */
  | { readonly status: "kept"; readonly commandId: string; readonly outcome: Promise<Settled<Refusal>> }
  /** Nothing was kept: there is no room. */
  | { readonly status: "full"; readonly limit: "commands" | "bytes" }
  /** Nothing was kept: the store failed or is closed. */
  | { readonly status: "failed"; readonly error: StoreUnavailable }

export interface KeepOptions {
  readonly commandId?: string
  readonly expectedVersion?: number
}

export type KeepCommand<Payload, Refusal> = (payload: Payload, options?: KeepOptions) => Promise<Kept<Refusal>>

export type KeptCommands = {
  readonly [Definition in DeskCommandDefinition as Definition["name"]]: KeepCommand<
    PayloadOf<Definition>,
    RefusalOf<Definition>
  >
}

/** A command that is kept. */
export interface Entry {
  readonly name: CommandName
  readonly payload: unknown
  readonly commandId: string
  readonly expectedVersion?: number
  readonly keptAtMs: number
  /** When it was sent first; null: never. */
  readonly sentAtMs: number | null
}

export interface Rejected extends Entry {
  readonly outcome: Extract<Settled<{ readonly _tag: string }>, { readonly status: "refused" | "unknown" }>
}

export type OutboxEvent =
  | { readonly type: "kept"; readonly entry: Entry }
  | { readonly type: "settled"; readonly entry: Entry; readonly outcome: Settled<{ readonly _tag: string }> }
  /** The desk does not answer, or not yet; it is tried again by then. */
  | { readonly type: "waiting"; readonly detail: string; readonly retryAtMs: number }
  /** What happened is not lost, but might be told, or sent under the same id, again after a crash. */
  | { readonly type: "storeFailed"; readonly error: StoreUnavailable }

export type OpenedOutbox =
  | { readonly status: "opened"; readonly outbox: Outbox }
  | { readonly status: "unavailable"; readonly error: StoreUnavailable }

/** `locked` when another process or tab has it. Sending begins at once. */
export const openOutbox = async (client: Client, store: Store): Promise<OpenedOutbox> => {
  try {
    const kept = await store.open()
    return { status: "opened", outbox: new Outbox(client, store, kept) }
  } catch (error) {
    await store.close()
    if (error instanceof StoreUnavailable) return { status: "unavailable", error }
    throw error
  }
}

const StoredOutcome = Schema.Struct({
  status: Schema.Literals(["refused", "unknown"]),
  commandId: Schema.String,
  problem: Schema.optionalKey(
    Schema.StructWithRest(Schema.Struct({ _tag: Schema.String }), [Schema.Record(Schema.String, Schema.Unknown)])
  ),
  detail: Schema.optionalKey(Schema.String)
})
const StoredEntry = Schema.fromJsonString(
  Schema.Struct({
    name: Schema.Literals(definitions.map(({ name }) => name)),
    payload: Schema.Unknown,
    commandId: Schema.String,
    expectedVersion: Schema.optionalKey(Schema.Natural),
    keptAtMs: Schema.Finite,
    sentAtMs: Schema.NullOr(Schema.Finite),
    outcome: Schema.optionalKey(StoredOutcome)
  })
)
const decodeStored = Schema.decodeUnknownResult(StoredEntry)

interface Item {
  readonly key: string
  readonly streamId: string
  readonly bytes: number
  entry: Entry
  /** Not before it is in the store. */
  isKept: boolean
  readonly send: (signal: AbortSignal) => Promise<Final>
  /** Answers whoever kept it. */
  readonly discarded: (mayBeDone: boolean) => void
}

/** The outcome, and what tells it to whoever waits for it: in this order, so that the store knows it first. */
interface Final {
  readonly outcome: CommandOutcome<{ readonly _tag: string }>
  readonly tell: () => void
}

const prefix = "command/"

export class Outbox {
  readonly commands: KeptCommands
  readonly #client: Client
  readonly #store: Store
  readonly #items = new Map<string, Item>()
  readonly #rejected = new Map<string, Rejected & { readonly bytes: number; readonly key: string }>()
  readonly #listeners = new Set<(event: OutboxEvent) => void>()
  readonly #underWay = new Map<string, Promise<void>>()
  readonly #closing = new AbortController()
  readonly #remembered: Map<string, string>
  #bytes = 0
  #sequence = 0
  #failures = 0
  #resumeAtMs = 0
  #pause = new AbortController()

  constructor(client: Client, store: Store, kept: ReadonlyMap<string, string>) {
    this.#client = client
    this.#store = store
    this.#remembered = new Map([...kept].filter(([key]) => !key.startsWith(prefix)))
    this.commands = keptCommands(client.commands, (name, payload, options, send) =>
      this.#keep(name, payload, options, send)
    )
    for (const [key, text] of kept) if (key.startsWith(prefix)) this.#restore(key, text)
    this.#pump()
  }

  /** Waiting to be sent or under way, in the order of keeping. */
  get waiting(): ReadonlyArray<Entry> {
    return [...this.#items.values()].filter(({ isKept }) => isKept).map(({ entry }) => entry)
  }

  /** Refused, or never to be learnt; each stays until it is discarded. */
  get rejected(): ReadonlyArray<Rejected> {
    return [...this.#rejected.values()]
  }

  /** Ends with the function that it gives. A listener must not throw. */
  subscribe(listener: (event: OutboxEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Takes out what waits or was rejected. False: there is none, or it is being sent just now. */
  async discard(commandId: string): Promise<boolean> {
    const rejected = [...this.#rejected.values()].find((one) => one.commandId === commandId)
    const item = [...this.#items.values()].find(({ entry }) => entry.commandId === commandId)
    if (rejected === undefined && (item === undefined || this.#underWay.has(item.streamId))) return false
    if (rejected !== undefined) this.#forgetRejected(rejected.key)
    if (item !== undefined) this.#forget(item)
    await this.#write([[rejected?.key ?? item?.key ?? "", null]])
    const mayBeDone = item?.entry.sentAtMs != null
    if (item === undefined) return true
    item.discarded(mayBeDone)
    this.#emit({ type: "settled", entry: item.entry, outcome: { status: "discarded", commandId, mayBeDone } })
    this.#pump()
    return true
  }

  /** Tries at once, for when a page hears that it is online. */
  wake(): void {
    this.#resumeAtMs = 0
    this.#pause.abort()
    this.#pause = new AbortController()
    this.#pump()
  }

  /** Uploads, resuming what an earlier process began of the same content; with `attachTo` the attachment is kept as a command. */
  upload(source: UploadSource, options: AttachOptions): OutboxUpload {
    return attachingUpload(
      {
        client: this.#client,
        remembered: this.#remembered,
        write: (changes) => this.#store.write(changes),
        attach: (payload, commandId, alongside) =>
          this.#keep(
            "AttachFile",
            payload,
            { commandId },
            (options) => this.#client.commands.AttachFile(payload, options),
            alongside
          )
      },
      source,
      options
    )
  }

  /** Stops sending and lets others open the store. What was not sent stays kept. */
  async close(): Promise<void> {
    this.#closing.abort()
    this.#pause.abort()
    await Promise.all(this.#underWay.values())
    await this.#store.close()
  }

  #restore(key: string, text: string): void {
    this.#sequence = Math.max(this.#sequence, Number(key.slice(prefix.length)))
    const stored = decodeStored(text)
    // Written by a newer version, most likely: leaving it out would lose it, or overtake it.
    if (Result.isFailure(stored)) throw new StoreUnavailable({ reason: "damaged", detail: `${key} cannot be read` })
    const { outcome, ...entry } = stored.success
    this.#bytes += text.length
    if (outcome === undefined) {
      const { commandId, expectedVersion, name, payload } = entry
      const options = expectedVersion === undefined ? { commandId } : { commandId, expectedVersion }
      const send = async (signal: AbortSignal): Promise<Final> => ({
        outcome: await this.#client.send(name, payload, { ...options, signal }),
        tell: () => {}
      })
      this.#items.set(key, {
        key,
        streamId: streamOf(entry),
        bytes: text.length,
        entry,
        isKept: true,
        send,
        discarded: () => {}
      })
    } else {
      const { detail = "", problem } = outcome
      const told: Rejected["outcome"] =
        outcome.status === "refused" && problem !== undefined
          ? { status: "refused", commandId: entry.commandId, problem }
          : { status: "unknown", commandId: entry.commandId, detail }
      this.#rejected.set(key, { ...entry, outcome: told, bytes: text.length, key })
    }
  }

  async #keep<Refusal extends { readonly _tag: string }>(
    name: CommandName,
    payload: unknown,
    options: KeepOptions,
    send: (options: KeepOptions & { readonly signal: AbortSignal }) => Promise<CommandOutcome<Refusal>>,
    alongside: ReadonlyArray<readonly [string, null]> = []
  ): Promise<Kept<Refusal>> {
    const commandId = options.commandId ?? uuidV7Unsafe()
    const entry: Entry = { ...options, name, payload, commandId, keptAtMs: this.#client.timing.nowMs(), sentAtMs: null }
    const text = JSON.stringify(entry)
    if (this.#items.size + this.#rejected.size >= Limits.commandsMax) return { status: "full", limit: "commands" }
    if (this.#bytes + text.length > Limits.bytesMax) return { status: "full", limit: "bytes" }
    const answer = Promise.withResolvers<Settled<Refusal>>()
    const item: Item = {
      key: `${prefix}${String(++this.#sequence).padStart(16, "0")}`,
      streamId: streamOf(entry),
      bytes: text.length,
      entry,
      isKept: false,
      send: async (signal) => {
        const outcome = await send({ ...options, commandId, signal })
        return { outcome, tell: () => outcome.status !== "unavailable" && answer.resolve(outcome) }
      },
      discarded: (mayBeDone) => answer.resolve({ status: "discarded", commandId, mayBeDone })
    }
    // Its place in the line is taken before it is in the store, so that the order is that of the calls.
    this.#items.set(item.key, item)
    this.#bytes += item.bytes
    try {
      await this.#store.write([[item.key, text], ...alongside])
    } catch (error) {
      this.#forget(item)
      if (error instanceof StoreUnavailable) return { status: "failed", error }
      throw error
    }
    item.isKept = true
    this.#emit({ type: "kept", entry })
    this.#pump()
    return { status: "kept", commandId, outcome: answer.promise }
  }

  #pump(): void {
    if (this.#closing.signal.aborted || this.#client.timing.nowMs() < this.#resumeAtMs) return
    const atOnce = this.#failures > 0 ? 1 : Limits.streamsAtOnceMax
    const seen = new Set<string>()
    for (const item of this.#items.values()) {
      if (this.#underWay.size >= atOnce) return
      if (item.isKept && !seen.has(item.streamId) && !this.#underWay.has(item.streamId)) this.#start(item)
      seen.add(item.streamId)
    }
  }

  #start(item: Item): void {
    const done = this.#deliver(item).then(() => {
      this.#underWay.delete(item.streamId)
      this.#pump()
    })
    this.#underWay.set(item.streamId, done)
  }

  async #deliver(item: Item): Promise<void> {
    const nowMs = this.#client.timing.nowMs()
    const { commandId, sentAtMs } = item.entry
    if (sentAtMs !== null && nowMs - sentAtMs > Limits.repeatableForMs) return await this.#giveUp(item)
    if (sentAtMs === null) {
      item.entry = { ...item.entry, sentAtMs: nowMs }
      await this.#write([[item.key, JSON.stringify(item.entry)]])
    }
    const { outcome, tell } = await item.send(this.#closing.signal)
    if (this.#closing.signal.aborted && outcome.status !== "accepted" && outcome.status !== "refused") return
    if (outcome.status === "unavailable" || outcome.status === "unknown") return this.#wait(outcome.detail)
    // A token that ran out overnight refuses nobody's command.
    if (outcome.status === "refused" && outcome.problem._tag === "Unauthenticated")
      return this.#wait(`${commandId}: the token was refused`)
    this.#failures = 0
    await this.#settle(item, outcome)
    tell()
  }

  async #giveUp(item: Item): Promise<void> {
    const { commandId } = item.entry
    const detail =
      "it was sent, and the answer was lost; the desk no longer knows its id, so sending it again might do it twice"
    await this.#settle(item, { status: "unknown", commandId, detail })
    item.discarded(true)
  }

  async #settle(
    item: Item,
    outcome: Exclude<Settled<{ readonly _tag: string }>, { readonly status: "discarded" }>
  ): Promise<void> {
    this.#forget(item)
    if (outcome.status === "accepted") await this.#write([[item.key, null]])
    else {
      const text = JSON.stringify({ ...item.entry, outcome: plain(outcome) })
      this.#rejected.set(item.key, { ...item.entry, outcome, bytes: text.length, key: item.key })
      this.#bytes += text.length
      await this.#write([[item.key, text]])
    }
    this.#emit({ type: "settled", entry: item.entry, outcome })
  }

  #wait(detail: string): void {
    const { backoffMaxMs: maxMs, backoffMinMs: minMs } = Limits
    const { timing } = this.#client
    const waitMs = backoffMs({ minMs, maxMs }, this.#failures++, timing.random)
    this.#resumeAtMs = timing.nowMs() + waitMs
    this.#emit({ type: "waiting", detail, retryAtMs: this.#resumeAtMs })
    void timing.sleep(waitMs, this.#pause.signal).then(() => this.#pump())
  }

  #forget({ bytes, key }: Item): void {
    if (this.#items.delete(key)) this.#bytes -= bytes
  }

  #forgetRejected(key: string): void {
    this.#bytes -= this.#rejected.get(key)?.bytes ?? 0
    this.#rejected.delete(key)
  }

  /** What the outbox notes for itself: when that fails, a crash makes it repeat or tell something again, and no more. */
  async #write(changes: Parameters<Store["write"]>[0]): Promise<void> {
    try {
      await this.#store.write(changes)
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error
      this.#emit({ type: "storeFailed", error })
    }
  }

  #emit(event: OutboxEvent): void {
    for (const listener of this.#listeners) listener(event)
  }
}

/** The ticket or file that a command is about; a new ticket has its command's id. */
const streamOf = ({ commandId, name, payload }: Pick<Entry, "commandId" | "name" | "payload">): string => {
  const field = definitions.find((definition) => definition.name === name)?.streamIdField ?? "commandId"
  const id: unknown = typeof payload === "object" && payload !== null ? Reflect.get(payload, field) : undefined
  return typeof id === "string" ? id : commandId
}

/** A problem is an Error, and those lose their fields on the way through JSON. */
const plain = (outcome: Rejected["outcome"]) =>
  outcome.status === "refused" ? { ...outcome, problem: { ...outcome.problem } } : outcome

type Keep = <Refusal extends { readonly _tag: string }>(
  name: CommandName,
  payload: unknown,
  options: KeepOptions,
  send: (options: KeepOptions) => Promise<CommandOutcome<Refusal>>
) => Promise<Kept<Refusal>>

const keptCommands = (commands: Commands, keep: Keep): KeptCommands => {
  const keeper =
    <Payload, Refusal extends { readonly _tag: string }>(
      name: CommandName,
      send: SendCommand<Payload, Refusal>
    ): KeepCommand<Payload, Refusal> =>
    (payload, options = {}) =>
      keep(name, payload, options, (sending) => send(payload, sending))
  return {
    OpenTicket: keeper("OpenTicket", commands.OpenTicket),
    ReplyToTicket: keeper("ReplyToTicket", commands.ReplyToTicket),
    AddNote: keeper("AddNote", commands.AddNote),
    AssignTicket: keeper("AssignTicket", commands.AssignTicket),
    ClaimTicket: keeper("ClaimTicket", commands.ClaimTicket),
    ChangeTicketStatus: keeper("ChangeTicketStatus", commands.ChangeTicketStatus),
    AttachFile: keeper("AttachFile", commands.AttachFile),
    RegisterFile: keeper("RegisterFile", commands.RegisterFile),
    RecordFileStages: keeper("RecordFileStages", commands.RecordFileStages),
    WithdrawAttachment: keeper("WithdrawAttachment", commands.WithdrawAttachment),
    RetryFile: keeper("RetryFile", commands.RetryFile),
    RescanFile: keeper("RescanFile", commands.RescanFile),
    RecordFileRescan: keeper("RecordFileRescan", commands.RecordFileRescan),
    WithdrawFile: keeper("WithdrawFile", commands.WithdrawFile),
    ReadNotifications: keeper("ReadNotifications", commands.ReadNotifications)
  }
}
