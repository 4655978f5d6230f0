// What an outage felt like, from the ledgers of the people in it: printed, and never asserted, for times belong to a machine.
import type { Told } from "./Ledger.ts"
import type { World } from "./World.ts"

export interface Outage {
  readonly name: string
  readonly beganMs: number
  /** When the server accepted again, as far as the test can know. */
  readonly endedMs: number
}

/** What discovering an outage may take; after it the breaker is open. */
const discoveryMs = 3000

export const report = ({ ledger, reads }: World, { beganMs, endedMs, name }: Outage): void => {
  const during = ledger.told.filter(({ atMs }) => atMs >= beganMs && atMs < endedMs)
  const refused = during.filter(({ tag }) => tag !== "accepted").toSorted((a, b) => endOf(a) - endOf(b))
  const settled = refused.filter(({ atMs }) => atMs >= beganMs + discoveryMs)
  const [first] = refused
  const accepted = ledger.told.filter(
    (told) => told.tag === "accepted" && told.atMs >= beganMs && endOf(told) >= endedMs
  )
  const readTimes = reads.filter(({ atMs }) => atMs >= beganMs && atMs < endedMs)
  const parts = [
    `lasted ${ms(endedMs - beganMs)}`,
    `writes during it: ${tally(during)}`,
    `first refusal after ${first === undefined ? "-" : ms(endOf(first) - beganMs)}`,
    `slowest refusal ${ms(slowest(refused))}`,
    `and ${ms(slowest(settled))} beyond the first ${discoveryMs / 1000} s`,
    `reads: ${readTimes.length}, cached ${readTimes.filter(({ source }) => source === "cached").length}, slowest ${ms(slowest(readTimes))}`,
    `first write ${ms(Math.min(...accepted.map(endOf)) - endedMs)} after its end`
  ]
  process.stdout.write(`${name}: ${parts.join("; ")}\n`)
}

const endOf = ({ atMs, lastedMs }: Pick<Told, "atMs" | "lastedMs">): number => atMs + lastedMs

const slowest = (all: ReadonlyArray<{ readonly lastedMs: number }>): number =>
  Math.max(Number.NEGATIVE_INFINITY, ...all.map(({ lastedMs }) => lastedMs))

const ms = (value: number): string => (Number.isFinite(value) ? `${Math.round(value)} ms` : "-")

const tally = (all: ReadonlyArray<Told>): string =>
  [...Map.groupBy(all, ({ tag }) => tag)].map(([tag, told]) => `${tag} ${told.length}`).join(", ")
