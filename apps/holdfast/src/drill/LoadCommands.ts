// Commands over REST, as agents and customers issue them on a hot set of tickets. A client that does not know whether its command was done
// repeats it with the same id until it knows; each attempt that was due counts once, and repetitions are counted apart.
import { randomUUID } from "node:crypto"
import { DrillLoad } from "@holdfast/resilience/Limits"
import { Duration } from "effect"
import type { CommandTold, Told } from "./Ledger.ts"
import { type Actor, anyOf, asRecord, type HotTicket, type World, wordsOf } from "./LoadWorld.ts"
import { type Pace, startPace } from "./Pace.ts"
import type { Outcome } from "./Tally.ts"
import { jsonOf, type Raw } from "./Wire.ts"

interface Planned {
  readonly commandId: string
  readonly kind: string
  readonly actor: Actor
  readonly streamId: string
  readonly path: string
  readonly body: string
  /** Of a new ticket. */
  readonly opens: HotTicket | undefined
}

export interface Judged {
  readonly outcome: Outcome
  readonly error: string
  readonly told: Told
  readonly version: number
  readonly replayed: boolean
}

export interface CommandLoad {
  readonly pace: Pace
  /** Settles when every outcome is known, or sooner when told to stop asking. */
  settle(isOver: () => boolean): Promise<void>
}

export const startCommands = (
  world: World,
  perSecond: number,
  opened: (ticket: HotTicket, atMs: number) => void
): CommandLoad => {
  const repeats = makeRepeats(world, opened)
  const { tally } = world
  const pinned = makePinned()
  const attempt = async (dueMs: number) => {
    const planned = plan(world, pinned)
    const judged = await issue(world, planned)
    tally.record({ path: "commands", dueMs, endMs: tally.nowMs(), outcome: judged.outcome, error: judged.error })
    world.ledger.command(toldOf(planned, judged))
    if (judged.told === "unknown") repeats.add(planned)
    if (judged.told === "done") noteOpened(world, planned, opened)
  }
  const stuck = (dueMs: number, error: string) =>
    tally.record({ path: "commands", dueMs, endMs: tally.nowMs(), outcome: "failed", error })
  const send = async (dueMs: number) =>
    world.ledger.counts.unresolved < DrillLoad.unresolvedMax
      ? attempt(dueMs)
      : stuck(dueMs, "not sent: too much is unknown")
  return {
    pace: startPace({ perSecond, nowMs: tally.nowMs, send, stuck: (dueMs) => stuck(dueMs, "not sent: too many wait") }),
    settle: repeats.settle
  }
}

const noteOpened = (world: World, { opens }: Planned, opened: (ticket: HotTicket, atMs: number) => void) => {
  if (opens === undefined) return
  world.hot.add(opens)
  opened(opens, world.tally.nowMs())
}

const toldOf = (planned: Planned, { told, version }: Judged): CommandTold => ({
  commandId: planned.commandId,
  kind: planned.kind,
  principalId: planned.actor.id,
  streamId: planned.streamId,
  ...{ told, version }
})

interface Repeats {
  add(planned: Planned): void
  settle(isOver: () => boolean): Promise<void>
}

/** Each unknown outcome is asked for again and again, at a bounded pace. */
const makeRepeats = (world: World, opened: (ticket: HotTicket, atMs: number) => void): Repeats => {
  const waiting: Array<{ readonly planned: Planned; readonly notBeforeMs: number }> = []
  const delayMs = Duration.toMillis(DrillLoad.repeatDelay)
  let underWay = 0
  const add = (planned: Planned) => {
    waiting.push({ planned, notBeforeMs: performance.now() + delayMs })
    setTimeout(next, delayMs).unref()
  }
  const next = () => {
    while (underWay < DrillLoad.repeatsAtOnceMax) {
      const first = waiting[0]
      if (first === undefined || first.notBeforeMs > performance.now() + 1) return
      waiting.shift()
      underWay++
      repeat(first.planned).finally(() => {
        underWay--
        next()
      })
    }
  }
  const repeat = async (planned: Planned) => {
    const answer = await issue(world, planned)
    // That this attempt did nothing says nothing of the earlier one.
    if (answer.told === "unknown" || answer.told === "refused") return add(planned)
    world.ledger.command(toldOf(planned, answer), answer.replayed)
    if (answer.told === "done") noteOpened(world, planned, opened)
  }
  const settle = async (isOver: () => boolean) => {
    while ((waiting.length > 0 || underWay > 0) && !isOver()) {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  return { add, settle }
}

const issue = async ({ target, wire }: World, { actor, body, commandId, path }: Planned): Promise<Judged> =>
  judgeCommand(
    await wire.send({
      method: "POST",
      url: `${target.commandUrl}${path}`,
      headers: {
        ...{ "content-type": "application/json", accept: "application/json" },
        ...{ authorization: actor.authorization, "idempotency-key": commandId }
      },
      body,
      deadline: DrillLoad.commandDeadline
    })
  )

/** The contract's words for: nothing was done, come back. */
const refusals = ["WriteUnavailable", "Overloaded", "RateLimited"]
const unknowns = ["OutcomeUnknown", "CommandInProgress"]
/** A rule of the desk said no, which is an answer like any other. */
const rules = ["TicketNotOpen", "StatusChangeNotAllowed", "VersionConflict"]

export const judgeCommand = (raw: Raw): Judged => {
  const not = (outcome: Outcome, told: Told, error: string): Judged => ({
    ...{ outcome, told, error, version: 0, replayed: false }
  })
  if (raw._tag === "None") return not("failed", raw.why === "refused" ? "refused" : "unknown", wordsOf(raw.why))
  const body = asRecord(jsonOf(raw.body))
  if (raw.status === 200 && typeof body?.version === "number") {
    return { outcome: "live", told: "done", error: "", version: body.version, replayed: body.replayed === true }
  }
  const tag = String(body?.type ?? "")
    .split(":")
    .at(-1)
  if (tag === undefined || tag === "") return not("failed", "unknown", `status ${raw.status}`)
  if (refusals.includes(tag)) return not("refused", "refused", tag)
  if (unknowns.includes(tag)) return not("unknown", "unknown", tag)
  if (rules.includes(tag)) return not("live", "declined", tag)
  return not("failed", "declined", tag)
}

/** The tickets that have subscribers of their own; each takes part for a bounded number of commands. */
interface Pinned {
  next(): boolean
}

const makePinned = (): Pinned => {
  let left: number = DrillLoad.pinnedCommandsMax
  return { next: () => Math.random() < 0.05 && left-- > 0 }
}

const plan = (world: World, pinned: Pinned): Planned => {
  const ticket = pinned.next() && world.pinned.length > 0 ? anyOf(world.pinned) : world.hot.pick()
  const chance = Math.random()
  if (ticket === undefined || world.hot.size < 10 || chance < 0.2) return planOpen(world)
  const actor = chance < 0.3 ? ticket.customer : anyOf(world.agents)
  const rest = `/v1/tickets/${ticket.ticketId}`
  const on = (kind: string, path: string, payload: object): Planned => ({
    ...{ commandId: randomUUID(), kind, actor, streamId: ticket.ticketId, path: `${rest}/${path}` },
    ...{ body: JSON.stringify(payload), opens: undefined }
  })
  if (chance < 0.6) return on("ReplyToTicket", "replies", { body: "A reply of a drill." })
  if (chance < 0.8) return on("AddNote", "notes", { body: "A note of a drill." })
  return on("ChangeTicketStatus", "status", { status: anyOf(["open", "pending", "on_hold", "solved"]) })
}

const planOpen = ({ customers }: World): Planned => {
  const customer = anyOf(customers)
  const commandId = randomUUID()
  return {
    ...{ commandId, kind: "OpenTicket", actor: customer, streamId: commandId, path: "/v1/tickets" },
    body: JSON.stringify({ subject: "[drill] Not a real question", body: "Opened by a drill; it may be closed." }),
    opens: { ticketId: commandId, customer }
  }
}
