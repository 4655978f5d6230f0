// Queries of the hot window, and the wait for what was written to be seen. A query is answered when it holds the ticket that was asked for.
import { DrillLoad } from "@holdfast/resilience/Limits"
import { Duration } from "effect"
import { type Actor, type Asked, anyOf, ask, asRecord, type HotTicket, type World } from "./LoadWorld.ts"
import { type Pace, startPace } from "./Pace.ts"

const ticketQuery = `query DrillTicket($id: ID!) {
  ticket(id: $id) { id number subject status conversation(first: 20) { nodes { id body } } }
}`
const listQuery = "query DrillList { tickets(list: open, first: 20) { nodes { id subject status updatedAt } } }"

export const startQueries = (world: World, perSecond: number): Pace => {
  const { tally } = world
  const send = async (dueMs: number) => {
    const { error, outcome } = await askHot(world, anyOf(world.agents))
    tally.record({ path: "queries", dueMs, endMs: tally.nowMs(), outcome, error })
  }
  const stuck = (dueMs: number) =>
    tally.record({ path: "queries", dueMs, endMs: tally.nowMs(), outcome: "failed", error: "not sent: too many wait" })
  return startPace({ perSecond, nowMs: tally.nowMs, send, stuck })
}

const askHot = async (world: World, actor: Actor): Promise<Asked> => {
  const ticket = world.readable.pick()
  if (ticket === undefined || Math.random() < 0.3) return holding(await ask(world, actor, listQuery, {}), "tickets")
  return holding(await ask(world, actor, ticketQuery, { id: ticket.ticketId }), "ticket")
}

/** An answer without what was asked for is none. */
const holding = (asked: Asked, field: string): Asked =>
  asked.data === undefined || asRecord(asked.data[field]) !== undefined
    ? asked
    : { ...asked, outcome: "failed", error: `no ${field} in the answer` }

/** True once the ticket is in the views. */
export const isReadable = async (world: World, { ticketId }: HotTicket): Promise<boolean> => {
  const { data } = await ask(world, anyOf(world.agents), "query ($id: ID!) { ticket(id: $id) { id } }", {
    id: ticketId
  })
  return asRecord(data?.ticket)?.id === ticketId
}

/** Where the desk's log is now, as a reader sees it. */
export const currentPosition = async (
  world: Pick<World, "target" | "wire">,
  actor: Actor
): Promise<number | undefined> =>
  (await ask(world, actor, "query { tickets(list: all, first: 1) { nodes { id } } }", {})).position

interface Watched {
  readonly fromMs: number
  readonly isDone: () => Promise<boolean>
  nextMs: number
}

export interface Watch {
  /** False: too much is watched already, and this is not. */
  add(isDone: () => Promise<boolean>, fromMs: number): boolean
  readonly size: number
  stop(): void
}

/** In proportion to its age, so that hundreds that wait out an outage are no load of their own. */
const pauseOf = (ageMs: number): number => {
  const { watchPauseMax, watchPauseMin } = DrillLoad
  return Math.min(Duration.toMillis(watchPauseMax), Math.max(Duration.toMillis(watchPauseMin), ageMs / 5))
}

/** Looks again and again, ever less often, until what was caused is there: how long that took is a reaction's time. */
export const startWatch = ({ tally }: World): Watch => {
  /** The oldest first. */
  const watched: Array<Watched> = []
  let underWay = 0
  const look = async (one: Watched) => {
    const done = await one.isDone()
    const endMs = tally.nowMs()
    const isLost = !done && endMs - one.fromMs > Duration.toMillis(DrillLoad.watchFor)
    if (done || isLost) {
      watched.splice(watched.indexOf(one), 1)
      const outcome = done ? "live" : "failed"
      tally.record({ path: "reactions", dueMs: one.fromMs, endMs, outcome, error: done ? "" : "never seen" })
    }
    one.nextMs = endMs + pauseOf(endMs - one.fromMs)
  }
  const turn = () => {
    const nowMs = tally.nowMs()
    const each = DrillLoad.watchedEachEnd
    const looked = watched.length <= 2 * each ? watched : [...watched.slice(-each), ...watched.slice(0, each)]
    for (const one of looked) {
      if (underWay >= DrillLoad.watchesAtOnceMax) return
      if (one.nextMs > nowMs) continue
      one.nextMs = Number.POSITIVE_INFINITY
      underWay++
      look(one).finally(() => underWay--)
    }
  }
  const timer = setInterval(turn, Duration.toMillis(DrillLoad.watchInterval))
  return {
    add: (isDone, fromMs) => {
      if (watched.length >= DrillLoad.watchedMax) return false
      watched.push({ fromMs, isDone, nextMs: fromMs })
      return true
    },
    get size() {
      return watched.length
    },
    stop: () => clearInterval(timer)
  }
}
