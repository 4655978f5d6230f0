// The people at this gateway: who watches which ticket and who writes, what the other gateways are to hear of it, and what each watcher is
// told. Plain code with the time passed in. Who watches is there; a watcher is told the whole again when it has changed, all changes of a
// moment at once, encoded once for everybody who asked the same.
import type { PrincipalId, TicketId } from "@holdfast/contracts/Ids"
import { isStaff, type Principal } from "@holdfast/contracts/Principal"
import type { Audience } from "@holdfast/contracts/ticket/Status"
import { Presence, type PresenceBounds, type PresenceView, type Sighting } from "./Presence.ts"
import { readSignal, writeSignals } from "./PresenceSignal.ts"

/** What a client asked for. Equal keys mean equal bytes for the same view. */
export interface PresenceOperation {
  readonly key: string
  readonly presenceOf: TicketId
  readonly encode: (view: PresenceView) => Uint8Array
}

export interface PresenceHubOptions extends PresenceBounds {
  /** This gateway, as others know it: another one after each start. */
  readonly gateway: string
  readonly announceMs: number
  /** How often it is looked who is to be said again, and who is forgotten. */
  readonly roundMs: number
  readonly signalBytesMax: number
  readonly sightingsPerFlushMax: number
}

interface Watchers {
  readonly ticketId: TicketId
  readonly isStaff: boolean
  readonly encode: PresenceOperation["encode"]
  readonly members: Set<Watching>
  /** The view that its members were told last. */
  told: string
}

export interface Watching {
  /** It has been told all there is. */
  readonly isLive: true
  readonly watchers: Watchers
  readonly key: string
  readonly reader: Principal
  readonly send: (encoded: Uint8Array) => void
}

interface Local {
  readonly principal: Principal
  readonly ticketId: TicketId
  watchCount: number
  writing: Audience | null
  writingUntilMs: number
  saidAtMs: number
}

export class PresenceHub {
  readonly #options: PresenceHubOptions
  readonly #presence: Presence
  readonly #watchers = new Map<TicketId, Map<string, Watchers>>()
  /** By ticket and person. */
  readonly #locals = new Map<string, Local>()
  /** Who is to be told of to the other gateways, as they are when it is done. */
  readonly #unsaid = new Map<string, Sighting>()
  readonly #changed = new Set<TicketId>()
  #roundAtMs = 0

  constructor(options: PresenceHubOptions) {
    this.#options = options
    this.#presence = new Presence(options)
  }

  get watcherCount(): number {
    return this.#watchers.size
  }

  get localCount(): number {
    return this.#locals.size
  }

  /** From here on the reader is there, and is told. The reader may read the ticket: whoever calls has asked. */
  watch(operation: PresenceOperation, reader: Principal, send: Watching["send"], nowMs: number): Watching {
    const { presenceOf } = operation
    this.#count(presenceOf, reader, 1, nowMs)
    const key = `${isStaff(reader) ? "staff" : "customer"} ${operation.key}`
    const watchers = this.#watchersOf(operation, key, isStaff(reader))
    const watching: Watching = { isLive: true, watchers, key, reader, send }
    watchers.members.add(watching)
    const view = this.#presence.viewFor(presenceOf, isStaff(reader), nowMs)
    if (watchers.members.size === 1) watchers.told = JSON.stringify(view)
    send(operation.encode(view))
    return watching
  }

  /** Again is harmless. */
  unwatch(watching: Watching, nowMs: number): void {
    const { key, reader, watchers } = watching
    if (!watchers.members.delete(watching)) return
    const byKey = this.#watchers.get(watchers.ticketId)
    if (watchers.members.size === 0) byKey?.delete(key)
    if (byKey?.size === 0) this.#watchers.delete(watchers.ticketId)
    this.#count(watchers.ticketId, reader, -1, nowMs)
  }

  /** The writer may read the ticket: whoever calls has asked. */
  type(ticketId: TicketId, writer: Principal, writing: Audience | null, nowMs: number): void {
    const local = this.#localOf(ticketId, writer, nowMs)
    if (local === null) return
    local.writing = isStaff(writer) || writing === null ? writing : "public"
    local.writingUntilMs = nowMs + this.#options.writingMs
    this.#say(local, nowMs)
  }

  /** From another gateway, or what this one said. */
  receive(text: string, nowMs: number): void {
    const told = readSignal(text)
    if (told === null || told.gateway === this.#options.gateway) return
    for (const sighting of told.sightings) this.#sight(told.gateway, sighting, nowMs)
  }

  /** Tells watchers what has changed, and gives what the other gateways are to hear. */
  flush(nowMs: number): ReadonlyArray<string> {
    if (nowMs - this.#roundAtMs >= this.#options.roundMs) this.#round(nowMs)
    for (const ticketId of this.#changed) this.#tell(ticketId, nowMs)
    this.#changed.clear()
    return this.#takeSignals()
  }

  #count(ticketId: TicketId, reader: Principal, more: 1 | -1, nowMs: number): void {
    const local = this.#localOf(ticketId, reader, nowMs)
    if (local === null) return
    local.watchCount = Math.max(0, local.watchCount + more)
    // Who has left the ticket writes no more on it.
    if (more < 0 && local.watchCount === 0) local.writing = null
    this.#say(local, nowMs)
  }

  #round(nowMs: number): void {
    this.#roundAtMs = nowMs
    for (const local of this.#locals.values()) {
      const hasPaused = local.writing !== null && local.writingUntilMs <= nowMs
      if (hasPaused) local.writing = null
      if (hasPaused || nowMs - local.saidAtMs >= this.#options.announceMs) this.#say(local, nowMs)
    }
    for (const ticketId of this.#presence.expire(nowMs)) this.#changed.add(ticketId)
  }

  #tell(ticketId: TicketId, nowMs: number): void {
    for (const watchers of this.#watchers.get(ticketId)?.values() ?? []) {
      const view = this.#presence.viewFor(ticketId, watchers.isStaff, nowMs)
      const told = JSON.stringify(view)
      if (told === watchers.told) continue
      watchers.told = told
      const encoded = watchers.encode(view)
      for (const { send } of [...watchers.members]) send(encoded)
    }
  }

  /** What does not fit waits. */
  #takeSignals(): ReadonlyArray<string> {
    if (this.#unsaid.size === 0) return []
    const { gateway, sightingsPerFlushMax, signalBytesMax } = this.#options
    const next = [...this.#unsaid].slice(0, sightingsPerFlushMax)
    for (const [key] of next) this.#unsaid.delete(key)
    return writeSignals(
      gateway,
      next.map(([, sighting]) => sighting),
      signalBytesMax
    )
  }

  #say(local: Local, nowMs: number): void {
    const { principal, ticketId, watchCount, writing } = local
    const key = keyOf(ticketId, principal.id)
    const isViewing = watchCount > 0
    const person = { id: principal.id, name: principal.name ?? null, role: principal.role }
    const sighting = { ticketId, person, isViewing, writing }
    local.saidAtMs = nowMs
    this.#sight(this.#options.gateway, sighting, nowMs)
    // Beyond the bound somebody is said, or forgotten, later.
    if (this.#unsaid.size < this.#options.ticketsMax) this.#unsaid.set(key, sighting)
    if (!isViewing && writing === null) this.#locals.delete(key)
  }

  #sight(gateway: string, sighting: Sighting, nowMs: number): void {
    this.#presence.sight(gateway, sighting, nowMs)
    if (this.#watchers.has(sighting.ticketId)) this.#changed.add(sighting.ticketId)
  }

  /** Null: there are so many that this one is shown to nobody. */
  #localOf(ticketId: TicketId, principal: Principal, nowMs: number): Local | null {
    const key = keyOf(ticketId, principal.id)
    const known = this.#locals.get(key)
    if (known !== undefined) return known
    if (this.#locals.size >= this.#options.ticketsMax) return null
    const local = { principal, ticketId, watchCount: 0, writing: null, writingUntilMs: nowMs, saidAtMs: nowMs }
    this.#locals.set(key, local)
    return local
  }

  #watchersOf({ encode, presenceOf }: PresenceOperation, key: string, isStaffReader: boolean): Watchers {
    const byKey = this.#watchers.get(presenceOf) ?? new Map<string, Watchers>()
    this.#watchers.set(presenceOf, byKey)
    const known = byKey.get(key)
    if (known !== undefined) return known
    const watchers: Watchers = { ticketId: presenceOf, isStaff: isStaffReader, encode, members: new Set(), told: "" }
    byKey.set(key, watchers)
    return watchers
  }
}

const keyOf = (ticketId: TicketId, personId: PrincipalId): string => `${ticketId} ${personId}`
