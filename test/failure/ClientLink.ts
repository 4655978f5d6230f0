// The typed client over a bad line: commands through an outbox, an upload and a feed at once, while everything under way is cut again and
// again. What came of it is compared with what the desk has. The test runs it short, the drill in test/drills long.
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { openOutbox } from "@holdfast/client/Outbox"
import { fileStore } from "@holdfast/client/StoreFile"
import { type LinkProfile, makeLink } from "@holdfast/testkit/Link"
import { Effect, type Scope } from "effect"
import { until } from "../flows/Clients.ts"
import { type ClientWorld, clientWorld, conversationOf, openTicket, type Watched, watch } from "./ClientWorld.ts"

export interface LinkRun {
  readonly seed: number
  readonly profile: Partial<LinkProfile>
  readonly cutEveryMs: number
  readonly cutForMs: number
  readonly tickets: number
  /** Of each ticket. */
  readonly notes: number
  /** Between two of one ticket; they are kept at once and sent as the line allows. */
  readonly noteEveryMs: number
  readonly uploadBytes: number
  readonly report?: (line: string) => void
}

export interface TicketResult {
  readonly kept: ReadonlyArray<string>
  /** Messages at the desk, by id, in their order; without the first. */
  readonly present: ReadonlyArray<string>
  /** Positions that the feed over the line gave, and those of a feed past it. */
  readonly feed: ReadonlyArray<number>
  readonly truth: ReadonlyArray<number>
}

export interface LinkResult {
  readonly tickets: ReadonlyArray<TicketResult>
  readonly statuses: Readonly<Record<string, number>>
  readonly cuts: number
  readonly attempts: number
  readonly seconds: number
  readonly upload: {
    readonly status: string
    readonly isWhole: boolean
    readonly resentBytes: number
    readonly resumed: number
    readonly seconds: number
  }
  readonly feedAway: number
  readonly feedSnapshots: number
  readonly packets: { readonly offered: number; readonly lost: number }
}

/** 600 ms round trip, 5 % loss in each direction, 256 kbit/s. */
export const badLine: Partial<LinkProfile> = { delayMs: 300, loss: 0.05, bitsPerSecond: 256_000 }

export const runOverLink = (run: LinkRun) =>
  Effect.gen(function* () {
    const link = yield* makeLink({ seed: run.seed })
    const world = yield* clientWorld((target) => link.publish(target))
    const tickets = yield* Effect.promise(() => begin(world, run.tickets))
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-link-"))),
      (made) => Effect.promise(() => rm(made, { recursive: true }))
    )
    yield* link.set(run.profile)
    const cuts = { count: 0 }
    yield* Effect.forkScoped(cutAgainAndAgain(world, run, link.cut, link.heal, cuts))
    const result = yield* Effect.promise(() => work(world, run, tickets, join(folder, "outbox")))
    const { inward, outward } = yield* link.statistics
    return {
      ...result,
      cuts: cuts.count,
      attempts: world.attempts(),
      packets: {
        offered: inward.offered + outward.offered,
        lost: inward.lost + outward.lost + inward.cut + outward.cut + inward.overflowed + outward.overflowed
      }
    } satisfies LinkResult
  })

interface Followed {
  readonly ticketId: string
  readonly overLine: Watched
  readonly past: Watched
}

/** Tickets, each followed from the same position over the line and past it. */
const begin = (world: ClientWorld, count: number): Promise<ReadonlyArray<Followed>> =>
  Promise.all(
    Array.from({ length: count }, async () => {
      const ticketId = await openTicket(world.direct)
      const position = await until("the ticket is to be seen", async () => {
        const read = await world.direct.queries.ticket(ticketId)
        return read.status === "answered" && read.data !== null ? (read.freshness?.position ?? null) : null
      })
      return {
        ticketId,
        overLine: watch(world.client, ticketId, position),
        past: watch(world.direct, ticketId, position)
      }
    })
  )

/** Nothing passes, and every connection is reset, as when a modem dials anew. */
const cutAgainAndAgain = (
  { lines }: ClientWorld,
  { cutEveryMs, cutForMs, report }: LinkRun,
  cut: Effect.Effect<void>,
  heal: Effect.Effect<void>,
  cuts: { count: number }
): Effect.Effect<never, never, Scope.Scope> => {
  const all = Object.values(lines)
  return Effect.gen(function* () {
    yield* Effect.sleep(cutEveryMs)
    yield* cut
    yield* Effect.forEach(all, (line) => line.set({ _tag: "Reset" }))
    cuts.count++
    report?.(`cut ${cuts.count}`)
    yield* Effect.sleep(cutForMs)
    yield* heal
    yield* Effect.forEach(all, (line) => line.set({ _tag: "Pass" }))
  }).pipe(Effect.forever)
}

const work = async (world: ClientWorld, run: LinkRun, tickets: ReadonlyArray<Followed>, folder: string) => {
  const startedMs = Date.now()
  const opened = await openOutbox(world.client, fileStore(folder))
  if (opened.status !== "opened") throw opened.error
  const { outbox } = opened
  const bytes = new Uint8Array(run.uploadBytes).map((_, at) => 32 + ((at * 7) % 64))
  const upload = outbox.upload(bytes, { name: "scan.txt", type: "text/plain" })
  const uploading = upload.outcome.then((outcome) => ({ outcome, seconds: (Date.now() - startedMs) / 1000 }))
  const statuses: Record<string, number> = {}
  const keepNotes = async ({ ticketId }: Followed): Promise<ReadonlyArray<string>> => {
    const ids: Array<string> = []
    const outcomes: Array<Promise<void>> = []
    for (let count = 0; count < run.notes; count++) {
      const kept = await outbox.commands.AddNote({ ticketId, body: `note ${count}` })
      if (kept.status !== "kept") throw new Error(`the outbox answered ${kept.status}`)
      ids.push(kept.commandId)
      const settled = kept.outcome.then(({ status }) => {
        statuses[status] = (statuses[status] ?? 0) + 1
      })
      outcomes.push(settled)
      await pause(run.noteEveryMs)
    }
    await Promise.all(outcomes)
    return ids
  }
  const [kept, { outcome, seconds }] = await Promise.all([Promise.all(tickets.map(keepNotes)), uploading])
  await outbox.close()
  const results = await Promise.all(tickets.map((ticket, index) => resultOf(world, ticket, kept[index] ?? [])))
  const items = tickets.flatMap(({ overLine }) => overLine.items)
  for (const { overLine, past } of tickets) for (const watched of [overLine, past]) watched.stop()
  return {
    tickets: results,
    statuses,
    seconds: (Date.now() - startedMs) / 1000,
    upload: {
      status: outcome.status,
      isWhole: outcome.status === "uploaded" && (await isAtDesk(world, outcome.fileId, bytes)),
      resentBytes: upload.progress.resentBytes,
      resumed: upload.progress.cuts,
      seconds
    },
    feedAway: items.filter((item) => item.type === "state" && item.state === "away").length,
    feedSnapshots: items.filter(({ type }) => type === "snapshot").length
  }
}

const positionsOf = ({ items }: Watched) => items.flatMap((item) => (item.type === "change" ? [item.position] : []))

const resultOf = async (
  { direct }: ClientWorld,
  { overLine, past, ticketId }: Followed,
  kept: ReadonlyArray<string>
): Promise<TicketResult> => {
  const messages = await conversationOf(direct, ticketId, kept.length + 1)
  await until("the feed past the line has it all", async () => (positionsOf(past).length >= kept.length ? true : null))
  const truth = positionsOf(past)
  await until("the feed over the line has come as far", async () =>
    positionsOf(overLine).at(-1) === truth.at(-1) ? true : null
  )
  return { kept, present: messages.slice(1).map(({ id }) => id), feed: positionsOf(overLine), truth }
}

/** Byte for byte, past the line. */
const isAtDesk = async ({ direct }: ClientWorld, fileId: string, bytes: Uint8Array): Promise<boolean> => {
  const link = await until("the file is released", async () => {
    const file = await direct.queries.file(fileId)
    return file.status === "answered" ? (file.data?.downloadUrl ?? null) : null
  })
  return Buffer.compare(Buffer.from(await (await fetch(link)).arrayBuffer()), bytes) === 0
}
