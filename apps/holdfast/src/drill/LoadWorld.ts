// What all clients of a drill share: where the desk is, who they are, which tickets are hot, and where they put what they saw. Everything in
// it is bounded. Its people and tickets carry the word drill, so that nobody takes them for real ones.
import { DrillLoad } from "@holdfast/resilience/Limits"
import { Effect, Redacted } from "effect"
import type { Person } from "../DeskClient.ts"
import type { Refusal } from "../Refusal.ts"
import type { Ledger } from "./Ledger.ts"
import type { Outcome, Tally } from "./Tally.ts"
import { jsonOf, type Raw, type Wire } from "./Wire.ts"

/** A running desk, wherever it runs. */
export interface LoadTarget {
  readonly commandUrl: string
  readonly queryUrl: string
  readonly realtimeUrl: string
  readonly fileUrl: string
  /** Valid for as long as the load may last. */
  readonly token: (person: Person) => Effect.Effect<Redacted.Redacted<string>, Refusal>
}

export interface Actor {
  readonly id: string
  readonly authorization: string
}

export interface HotTicket {
  readonly ticketId: string
  readonly customer: Actor
}

export interface World {
  readonly target: LoadTarget
  readonly wire: Wire
  readonly tally: Tally
  readonly ledger: Ledger
  readonly agents: ReadonlyArray<Actor>
  readonly customers: ReadonlyArray<Actor>
  /** Acknowledged: commands choose from these. */
  readonly hot: Ring<HotTicket>
  /** These have subscribers of their own. */
  readonly pinned: ReadonlyArray<HotTicket>
  /** Seen in the views once: queries choose from these. */
  readonly readable: Ring<HotTicket>
}

/** The newest so many; the oldest makes room. */
export interface Ring<A> {
  add(one: A): void
  pick(): A | undefined
  /** In place of one that may have made room meanwhile. */
  replace(old: A, one: A): void
  readonly size: number
}

export const makeRing = <A>(sizeMax: number): Ring<A> => {
  const kept: Array<A> = []
  let next = 0
  return {
    add: (one) => {
      kept[next % sizeMax] = one
      next++
    },
    pick: () => kept[Math.floor(Math.random() * kept.length)],
    replace: (old, one) => {
      const place = kept.indexOf(old)
      if (place !== -1) kept[place] = one
    },
    get size() {
      return kept.length
    }
  }
}

export const anyOf = <A>(list: ReadonlyArray<A>): A => {
  const found = list[Math.floor(Math.random() * list.length)]
  if (found === undefined) throw new Error("there is nobody to choose from")
  return found
}

/** Enough agents that none meets the desk's own limit per person. */
export const makeActors = Effect.fnUntraced(function* (target: LoadTarget, commandsPerSecond: number) {
  const count = Math.max(4, Math.ceil(commandsPerSecond / DrillLoad.commandsPerAgentMax))
  const people = (role: "agent" | "customer") =>
    Effect.forEach(
      Array.from({ length: count }, (_, index) => person(role, index + 1)),
      (one) =>
        Effect.map(target.token(one), (token) => ({ id: one.id, authorization: `Bearer ${Redacted.value(token)}` })),
      { concurrency: 4 }
    )
  return { agents: yield* people("agent"), customers: yield* people("customer") }
})

const person = (role: "agent" | "customer", number: number): Person => ({
  id: `drill-${role}-${number}`,
  name: `Drill ${role} ${number}`,
  email: `drill-${role}-${number}@example.com`,
  role
})

export interface Asked {
  readonly outcome: Outcome
  readonly error: string
  /** The answer's `data`; `undefined` unless answered. */
  readonly data: Readonly<Record<string, unknown>> | undefined
  readonly position: number | undefined
}

/** One GraphQL query, judged: answered live, answered from the cache, refused, or failed. */
export const ask = async (
  { target, wire }: Pick<World, "target" | "wire">,
  actor: Actor,
  query: string,
  variables: Readonly<Record<string, unknown>>
): Promise<Asked> => {
  const raw = await wire.send({
    method: "POST",
    url: `${target.queryUrl}/graphql`,
    headers: {
      ...{ "content-type": "application/json", accept: "application/json" },
      authorization: actor.authorization
    },
    body: JSON.stringify({ query, variables }),
    deadline: DrillLoad.queryDeadline
  })
  return judgeQuery(raw)
}

export const judgeQuery = (raw: Raw): Asked => {
  const not = (outcome: Outcome, error: string): Asked => ({ outcome, error, data: undefined, position: undefined })
  if (raw._tag === "None") return not("failed", wordsOf(raw.why))
  const body = asRecord(jsonOf(raw.body))
  const [error] = Array.isArray(body?.errors) ? body.errors : []
  if (error !== undefined) {
    const code = asRecord(asRecord(error)?.extensions)?.code
    return code === "READ_UNAVAILABLE" ? not("refused", code) : not("failed", String(code ?? "an error without a code"))
  }
  const data = asRecord(body?.data)
  const freshness = asRecord(asRecord(body?.extensions)?.freshness)
  if (data === undefined) return not("failed", `status ${raw.status}`)
  const outcome = freshness?.source === "cached" ? "cached" : "live"
  const position = typeof freshness?.position === "number" ? freshness.position : undefined
  return { outcome, error: "", data, position }
}

export const wordsOf = (why: Extract<Raw, { _tag: "None" }>["why"]): string =>
  ({ refused: "nobody listens", lost: "connection lost", silent: "no answer" })[why]

export const asRecord = (value: unknown): Readonly<Record<string, unknown>> | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : undefined
