// What the desk has promised and what has truly happened, kept outside of it, with the invariants that can be checked as it happens.
import type { CommandAccepted } from "@holdfast/contracts/Command"
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Principal } from "@holdfast/contracts/Principal"
import type { Decided } from "@holdfast/database/CommandStore"
import type { DependencyState } from "@holdfast/resilience/Health"
import type { WebhookEndpoint } from "@holdfast/webhook/Webhook"
import { type CoreListener, type PostgresCore, receiptKey } from "./PostgresCore.ts"
import type { SimulatedProcess } from "./SimulatedProcess.ts"
import type { SimulatedServer } from "./SimulatedServer.ts"
import { publicEndpoint } from "./SimulatedTools.ts"
import type { World } from "./World.ts"

/** Every note says it, and nothing else does. */
export const secretWord = "classified"
/** Content that must never be served. */
export const malware = Buffer.from(
  [..."*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X"].reverse().join("")
)

interface Acknowledged {
  readonly principal: Principal
  readonly answer: CommandAccepted
}

/** Fewer unanswered calls than this open no circuit. */
const troublesMin = 3

export class Ledger implements CoreListener {
  readonly acknowledged = new Map<string, Acknowledged>()
  readonly uploads = new Map<string, { readonly sha256: string; readonly isBad: boolean }>()
  /** By endpoint: the events it was sent. */
  readonly webhooks = new Map<string, Set<string>>()
  readonly #world: World
  readonly #versions = new Map<string, number>()
  readonly #positionedVersions = new Map<string, number>()
  readonly #publishedVersions = new Map<string, number>()
  readonly #handedVersions = new Map<string, number>()
  readonly #commands = new Set<string>()
  readonly #numbers = new Set<number>()
  #lastPosition = 0

  constructor(world: World) {
    this.#world = world
  }

  committed(decided: Decided, events: Parameters<CoreListener["committed"]>[1]): void {
    const key = receiptKey(decided.principal.id, decided.commandId)
    if (this.#commands.has(key)) this.#world.violate("applied once", `${key} was appended twice`)
    this.#commands.add(key)
    this.#world.coverage.hit("committed")
    for (const { event, streamId, streamVersion } of events) {
      this.#inOrder("applied once", this.#versions, streamId, streamVersion)
      if (event._tag !== "TicketOpened") continue
      if (this.#numbers.has(event.number)) this.#world.violate("applied once", `number ${event.number} is given twice`)
      this.#numbers.add(event.number)
    }
  }

  positioned({ event, position, streamId, streamVersion }: Envelope): void {
    this.#world.tell(`${position} ${event._tag} ${streamId.slice(0, 4)}/${streamVersion}`)
    if (position !== this.#lastPosition + 1)
      this.#world.violate("positions gapless", `${position} follows ${this.#lastPosition}`)
    this.#lastPosition = position
    this.#inOrder("order per ticket", this.#positionedVersions, streamId, streamVersion)
  }

  /** Again is harmless; ahead of an earlier one it is not. */
  published({ streamId, streamVersion }: Envelope): void {
    this.#firstInOrder(this.#publishedVersions, streamId, streamVersion)
  }

  handed(group: string, { streamId, streamVersion }: Envelope): void {
    this.#firstInOrder(this.#handedVersions, `${group} ${streamId}`, streamVersion)
  }

  #firstInOrder(versions: Map<string, number>, key: string, version: number): void {
    if (version > (versions.get(key) ?? 0)) this.#inOrder("order per ticket", versions, key, version)
    else this.#world.coverage.hit("handed again")
  }

  #inOrder(invariant: string, versions: Map<string, number>, key: string, version: number): void {
    const before = versions.get(key) ?? 0
    if (version !== before + 1) this.#world.violate(invariant, `${key} goes from ${before} to ${version}`)
    versions.set(key, version)
  }

  /** A client was told that it is durable, so it is. */
  accepted(core: PostgresCore, principal: Principal, answer: CommandAccepted): void {
    const key = receiptKey(principal.id, answer.commandId)
    const said = `${key} was acknowledged at version ${answer.version}`
    const stored = core.receipts.get(key)?.answer
    if (stored === undefined || stored.version !== answer.version || stored.number !== answer.number)
      this.#world.violate("acknowledged is durable", `${said} and is ${stored === undefined ? "not there" : "another"}`)
    const before = this.acknowledged.get(key)
    if (before !== undefined && before.answer.version !== answer.version)
      this.#world.violate("applied once", `${said} and before at ${before.answer.version}`)
    this.acknowledged.set(key, { principal, answer })
    this.#world.coverage.hit(answer.replayed ? "acknowledged as a replay" : "acknowledged")
  }

  /** Anything that was shown to somebody. */
  shown(to: Principal, text: string, where: string): void {
    if (to.role === "customer" && text.includes(secretWord))
      this.#world.violate("notes stay inside", `${to.id} was shown a note by ${where}`)
  }

  sent(endpoint: WebhookEndpoint, { event, eventId }: Envelope): void {
    const sent = this.webhooks.get(endpoint.id) ?? new Set<string>()
    this.webhooks.set(endpoint.id, sent)
    if (sent.has(eventId)) this.#world.coverage.hit("webhook sent again")
    sent.add(eventId)
    if (endpoint === publicEndpoint && event._tag === "NoteAdded")
      this.#world.violate("notes stay inside", "a note was sent to a webhook for customers")
  }

  released(bytes: Uint8Array): void {
    if (Buffer.from(bytes).includes(malware))
      this.#world.violate("only clean bytes are served", "malware reached the released store")
  }

  served(core: PostgresCore, fileId: string, bytes: Uint8Array): void {
    const history = core.streams.get(fileId) ?? []
    const isReleased = history.some(({ event }) => event._tag === "FileReleased")
    const isScanned = history.some(({ event }) => event._tag === "FileScanned")
    if (!isReleased || !isScanned || Buffer.from(bytes).includes(malware))
      this.#world.violate(
        "only clean bytes are served",
        `${fileId} was served; released ${isReleased}, scanned ${isScanned}`
      )
    this.#world.coverage.hit("downloaded")
  }

  /** A breaker opens on what was not answered, never on what was refused. */
  reported(process: SimulatedProcess, server: SimulatedServer, state: DependencyState): void {
    this.#world.tell(`${process.name}: ${server.name} is ${state}`)
    if (state !== "down") return
    this.#world.coverage.hit("breaker opened")
    const troubles = server.troubles.get(process) ?? 0
    if (troubles < troublesMin)
      this.#world.violate(
        "refusals never open a breaker",
        `${process.name} takes ${server.name} for down after ${troubles} unanswered calls`
      )
  }
}
