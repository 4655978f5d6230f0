// What goes wrong in a world, decided by its seed before it begins: which servers answer late, wrongly or not at all, who is killed, who
// hangs, whose clock is wrong. Each seed has some kinds of trouble and not others, so that rare combinations are met and quiet worlds
// show what trouble hides. (After the swarm testing of Groce and others.)
import type { Part } from "@holdfast/events/Registry"
import type { Seed } from "./Seed.ts"

export const serverNames = [
  "database",
  "read-database",
  "broker",
  "cache",
  "disk",
  "scanner",
  "converter",
  "webhook"
] as const
export type ServerName = (typeof serverNames)[number]

/** Of each call to a server. */
export interface CallFaults {
  readonly latencyMsMax: number
  /** Answered after seconds. */
  readonly slow: number
  /** It never arrives and the connection breaks. */
  readonly lostRequest: number
  /** It is done, and nobody hears of it. */
  readonly lostAnswer: number
  /** The server is well and will not have it. */
  readonly refused: number
}

/** refusing: nobody listens. hung: connections stay, nothing is answered until it goes on. silent: everything is swallowed. killed: what was under way is lost. */
export type OutageMode = "refusing" | "hung" | "silent" | "killed"

export interface Outage {
  readonly server: ServerName
  readonly mode: OutageMode
  readonly atMs: number
  readonly forMs: number
}

export interface ProcessFault {
  readonly member: string
  readonly kind: "crash" | "pause" | "stop"
  readonly atMs: number
  readonly forMs: number
}

/** Which part of the desk a seed is about: parts of it are cheap, and most seeds are about one. */
export type Focus = "whole" | "commands" | "reactions" | "reading" | "realtime" | "files"

export interface FaultPlan {
  readonly focus: Focus
  readonly steps: number
  /** How long there is trouble; what follows is healing. */
  readonly troubleMs: number
  /** Of the event workers. */
  readonly parts: ReadonlyArray<Part>
  readonly broker: "rabbit" | "embedded"
  readonly members: ReadonlyArray<string>
  /** The read database is a server of its own. */
  readonly readApart: boolean
  readonly faults: Readonly<Record<ServerName, CallFaults>>
  readonly outages: ReadonlyArray<Outage>
  readonly processFaults: ReadonlyArray<ProcessFault>
  readonly skewMs: Readonly<Record<string, number>>
  /** Events that a gateway keeps, and that the change feed goes back. */
  readonly windowEventsMax: number
  readonly changesEventsMax: number
  /** Times at which the cache loses everything, and at which sessions and channels break. */
  readonly flushesMs: ReadonlyArray<number>
  readonly breaksMs: ReadonlyArray<number>
}

interface Cast {
  readonly members: ReadonlyArray<string>
  readonly parts: ReadonlyArray<Part>
}

const api = ["command-api-1", "command-api-2"]
const worker = ["event-worker-1", "event-worker-2"]
const gateways = ["gateway-1", "gateway-2"]

const casts: Readonly<Record<Focus, Cast>> = {
  whole: {
    members: [...api, ...worker, ...gateways, "query-api", "file-gateway", "file-worker"],
    parts: ["relay", "views", "cache", "automation", "analytics", "webhooks"]
  },
  commands: { members: [...api, ...worker], parts: ["relay", "views"] },
  reactions: { members: [...api, ...worker], parts: ["relay", "automation", "analytics", "webhooks"] },
  reading: { members: [...api, ...worker, "query-api"], parts: ["relay", "views", "cache"] },
  realtime: { members: [...api, ...worker, ...gateways], parts: ["relay"] },
  files: { members: [...api, ...worker, "query-api", "file-gateway", "file-worker"], parts: ["relay", "views"] }
}

const focuses = ["commands", "reactions", "reading", "realtime", "files"] as const

/** @param wanted instead of the part that the seed would choose */
export const planFor = (seed: Seed, steps: number, wanted: Focus | null): FaultPlan => {
  const chosen = seed.chance(0.1) ? "whole" : seed.pick(focuses)
  const focus = wanted ?? chosen
  const broker = seed.chance(0.7) ? "rabbit" : "embedded"
  const troubleMs = seed.chance(0.2) ? 7_000 : 2_500
  const { members: all, parts } = casts[focus]
  // A second one of a kind is what takes over; gateways are always two, for people come back to either.
  const members = all.filter((name) => !name.endsWith("-2") || name === "gateway-2" || seed.chance(0.4))
  const skewed = seed.chance(0.4)
  return {
    focus,
    steps,
    troubleMs,
    parts,
    broker,
    members,
    readApart: seed.chance(0.5),
    faults: faultsFor(seed),
    outages: outagesFor(seed, troubleMs),
    processFaults: processFaultsFor(seed, members, troubleMs),
    skewMs: Object.fromEntries(members.map((name) => [name, skewed && seed.chance(0.5) ? skew(seed) : 0])),
    windowEventsMax: seed.chance(0.3) ? seed.between(8, 40) : 10_000,
    changesEventsMax: seed.chance(0.2) ? seed.between(30, 80) : 10_000,
    flushesMs: some(seed, 0.2, 2).map(() => moment(seed, troubleMs)),
    breaksMs: some(seed, 0.4, 4).map(() => moment(seed, troubleMs))
  }
}

const dayMs = 86_400_000

const skew = (seed: Seed): number => Math.round((seed.next() - 0.5) * 2 * seed.pick([60_000, 3_600_000, 3 * dayMs]))

const moment = (seed: Seed, troubleMs: number): number => seed.between(100, troubleMs - 400)

const some = (seed: Seed, probability: number, max: number): ReadonlyArray<number> =>
  seed.chance(probability) ? Array.from({ length: seed.between(1, max) }, (_, index) => index) : []

const faultsFor = (seed: Seed): Readonly<Record<ServerName, CallFaults>> => ({
  database: callFaults(seed),
  "read-database": callFaults(seed),
  broker: noContention(seed),
  cache: noContention(seed),
  disk: { ...noContention(seed), lostAnswer: 0 },
  scanner: noContention(seed),
  converter: noContention(seed),
  webhook: noContention(seed)
})

const noContention = (seed: Seed): CallFaults => ({ ...callFaults(seed), refused: 0 })

const callFaults = (seed: Seed): CallFaults => {
  const rate = (probability: number) => (seed.chance(0.35) ? seed.next() * probability : 0)
  return {
    latencyMsMax: seed.pick([2, 5, 20, 60]),
    slow: rate(0.03),
    lostRequest: rate(0.05),
    lostAnswer: rate(0.08),
    // Now and then everybody wants the same row.
    refused: seed.chance(0.15) ? 0.5 + seed.next() * 0.4 : rate(0.1)
  }
}

export const noFaults: CallFaults = { latencyMsMax: 3, slow: 0, lostRequest: 0, lostAnswer: 0, refused: 0 }

const outagesFor = (seed: Seed, troubleMs: number): ReadonlyArray<Outage> =>
  some(seed, 0.6, 3).map(() => {
    const atMs = moment(seed, troubleMs)
    const forMs = seed.pick([150, 600, 2_000, 4_000])
    const mode = seed.pick(["refusing", "hung", "silent", "killed"] as const)
    // Most of the desk stands on it.
    const server = seed.chance(0.25) ? "database" : seed.pick(serverNames)
    return { server, mode, atMs, forMs: Math.min(forMs, troubleMs - atMs) }
  })

const processFaultsFor = (seed: Seed, members: ReadonlyArray<string>, troubleMs: number): ReadonlyArray<ProcessFault> =>
  some(seed, 0.6, 5).map(() => {
    const atMs = moment(seed, troubleMs)
    const forMs = Math.min(seed.pick([50, 400, 1_500]), troubleMs - atMs)
    const kind = seed.pick(["crash", "crash", "crash", "pause", "stop"] as const)
    return { member: seed.pick(members), kind, atMs, forMs }
  })
