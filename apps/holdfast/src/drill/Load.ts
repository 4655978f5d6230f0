// The synthetic load of a drill: real clients over the wire that issue commands, ask, subscribe, upload and download at fixed rates, and keep
// what they were told in a ledger and a tally. Usable against any desk: it knows addresses and tokens, nothing else. When its scope
// ends every client is gone.
import { DrillLoad } from "@holdfast/resilience/Limits"
import { Duration, Effect } from "effect"
import { refuse } from "../Refusal.ts"
import type { FeedTerms, Ledger } from "./Ledger.ts"
import { startCommands } from "./LoadCommands.ts"
import { type Feed, startFeed } from "./LoadFeeds.ts"
import { startFiles } from "./LoadFiles.ts"
import { currentPosition, isReadable, startQueries, startWatch } from "./LoadQueries.ts"
import { type Actor, anyOf, type HotTicket, type LoadTarget, makeActors, makeRing, type World } from "./LoadWorld.ts"
import type { Tally } from "./Tally.ts"
import { makeWire } from "./Wire.ts"

export type { LoadTarget } from "./LoadWorld.ts"

/** Per second. */
export interface Rates {
  readonly commands: number
  readonly queries: number
  readonly uploads: number
  readonly downloads: number
}

/** As a desk's day is: mostly reading, some writing, a few files. */
export const ratesOf = (perSecond: number): Rates => ({
  commands: perSecond * 0.4,
  queries: perSecond * 0.45,
  uploads: perSecond * 0.05,
  downloads: perSecond * 0.1
})

export interface LoadOptions {
  readonly target: LoadTarget
  readonly ledger: Ledger
  readonly tally: Tally
  readonly rates: Rates
  /** Subscribers: in turn to every ticket, to one ticket, and as a customer. 0 to 12. */
  readonly feeds: number
}

export interface Load {
  readonly feeds: ReadonlyArray<Feed>
  /** Caused and not yet seen by its reader. */
  readonly awaited: () => number
  /** Sends nothing new, and settles when everything that was sent is answered or given up. */
  readonly stop: Effect.Effect<void>
  /** After `stop`: true when every outcome is known, false when that took longer than this. */
  readonly settle: (within: Duration.Duration) => Effect.Effect<boolean>
}

/** Runs from here on. Fails when the desk cannot be used even before anything is broken. */
export const startLoad = Effect.fn("Load.start")(function* (options: LoadOptions) {
  const { ledger, rates, tally, target } = options
  const actors = yield* makeActors(target, rates.commands)
  const wire = yield* Effect.acquireRelease(Effect.sync(makeWire), (one) => Effect.sync(() => one.close()))
  const pinned: Array<HotTicket> = []
  const world: World = {
    ...{ target, wire, tally, ledger, ...actors, pinned },
    hot: makeRing<HotTicket>(DrillLoad.hotTicketsMax),
    readable: makeRing<HotTicket>(DrillLoad.hotTicketsMax)
  }
  const after = yield* Effect.promise(() => currentPosition(world, anyOf(world.agents)))
  if (after === undefined) return yield* refuse("The desk is not well enough for a drill: it cannot be read.")
  const watch = yield* Effect.acquireRelease(
    Effect.sync(() => startWatch(world)),
    (one) => Effect.sync(() => one.stop())
  )
  const feeds = yield* Effect.acquireRelease(
    Effect.sync((): Array<Feed> => []),
    (all) =>
      Effect.sync(() => {
        for (const feed of all) feed.stop()
      })
  )
  const subscribe = (terms: Omit<FeedTerms, "number" | "after">, actor: Actor) => {
    if (feeds.length < options.feeds) feeds.push(startFeed(world, { ...terms, number: feeds.length + 1, after }, actor))
  }
  const opened = (ticket: HotTicket, atMs: number) => {
    const { ticketId } = ticket
    if (feeds.length < options.feeds) {
      // The first tickets become those that people follow.
      pinned.push(ticket)
      subscribe({ ticketId }, anyOf(world.agents))
      subscribe({ customerId: ticket.customer.id }, ticket.customer)
      subscribe({ ticketId, customerId: ticket.customer.id }, ticket.customer)
    }
    if (watch.size >= DrillLoad.ticketsWatchedMax) return
    watch.add(async () => {
      const seen = await isReadable(world, ticket)
      if (seen) setTimeout(() => world.readable.add(ticket), Duration.toMillis(DrillLoad.hotAfter)).unref()
      return seen
    }, atMs)
  }
  subscribe({}, anyOf(world.agents))
  return yield* running(world, options, watch, feeds, opened)
})

const running = (
  world: World,
  { rates }: LoadOptions,
  watch: ReturnType<typeof startWatch>,
  feeds: ReadonlyArray<Feed>,
  opened: (ticket: HotTicket, atMs: number) => void
) =>
  Effect.gen(function* () {
    const commands = startCommands(world, rates.commands, opened)
    const files = startFiles(world, watch, rates)
    const paces = [commands.pace, startQueries(world, rates.queries), ...files.paces]
    const stopAll = () => {
      for (const pace of paces) pace.stop()
    }
    yield* Effect.addFinalizer(() => Effect.sync(stopAll))
    const stop = Effect.sync(stopAll).pipe(
      Effect.andThen(Effect.promise(() => Promise.all(paces.map(({ settled }) => settled)))),
      Effect.asVoid
    )
    const settle = (within: Duration.Duration) =>
      Effect.promise(async () => {
        const untilMs = performance.now() + Duration.toMillis(within)
        const isOver = () => performance.now() > untilMs
        await Promise.all([commands.settle(isOver), files.settle(isOver)])
        return !isOver()
      })
    return { feeds, awaited: () => watch.size, stop, settle } satisfies Load
  })
