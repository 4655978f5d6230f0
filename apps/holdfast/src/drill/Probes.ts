// The desk as three users feel it: one reads a ticket again and again, one opens tickets, one keeps a socket open. Each remembers what
// it saw; a drill is short, and probes come at a fixed pace, so what is remembered is bounded by its length.
import { randomUUID } from "node:crypto"
import { Drill } from "@holdfast/resilience/Limits"
import { Effect, Redacted, Ref, Schedule, Schema } from "effect"
import { postCommand, postGraphql } from "../DeskClient.ts"
import type { ReadSeen, WriteSeen } from "./Verdict.ts"

export interface Target {
  readonly commandUrl: string
  readonly queryUrl: string
  readonly realtimeUrl: string
  readonly token: Redacted.Redacted<string>
}

export interface Log {
  readonly reads: Ref.Ref<ReadonlyArray<ReadSeen>>
  readonly writes: Ref.Ref<ReadonlyArray<WriteSeen>>
  readonly socketCuts: Ref.Ref<number>
  /** Milliseconds since the drill began. */
  readonly nowMs: () => number
}

export const makeLog = Effect.gen(function* () {
  const begun = performance.now()
  return {
    reads: yield* Ref.make<ReadonlyArray<ReadSeen>>([]),
    writes: yield* Ref.make<ReadonlyArray<WriteSeen>>([]),
    socketCuts: yield* Ref.make(0),
    nowMs: () => performance.now() - begun
  } satisfies Log
})

const pace = Schedule.spaced(Drill.probeInterval)

export const readAgainAndAgain = (target: Target, log: Log, ticketId: string) =>
  Effect.gen(function* () {
    const atMs = log.nowMs()
    const { lastedMs, source } = yield* readTicket(target, ticketId)
    yield* Ref.update(log.reads, (reads) => [...reads, { atMs, lastedMs, source }])
  }).pipe(Effect.repeat(pace))

export const writeAgainAndAgain = (target: Target, log: Log) =>
  openTicket(target, log, randomUUID).pipe(
    Effect.flatMap((seen) => Ref.update(log.writes, (writes) => [...writes, seen])),
    Effect.repeat(pace)
  )

const query = "query DrillTicket($id: ID!) { ticket(id: $id) { id } }"

const TicketAnswer = Schema.Struct({
  data: Schema.Struct({ ticket: Schema.NullOr(Schema.Struct({ id: Schema.String })) }),
  extensions: Schema.Struct({ freshness: Schema.Struct({ source: Schema.Literals(["live", "cached"]) }) })
})
const decodeTicket = Schema.decodeUnknownOption(TicketAnswer)

/** `source` is `null` unless the ticket was in the answer. */
export const readTicket = (target: Target, id: string) =>
  Effect.map(postGraphql(target.queryUrl, target.token, query, { id }), ({ body, lastedMs }) => {
    const answer = decodeTicket(body)
    const found = answer._tag === "Some" && answer.value.data.ticket !== null
    return { lastedMs, source: found ? answer.value.extensions.freshness.source : null }
  })

const Problem = Schema.Struct({ type: Schema.String })
const decodeProblem = Schema.decodeUnknownOption(Problem)

/** The refusals that the contract foresees while the desk cannot write. */
const refusals = ["WriteUnavailable", "Overloaded", "RateLimited"]

export const openTicket = (target: Target, log: Log, makeId: () => string) =>
  Effect.gen(function* () {
    const commandId = makeId()
    const atMs = log.nowMs()
    const { body, lastedMs, status } = yield* postCommand({
      base: target.commandUrl,
      path: "/v1/tickets",
      payload: { subject: "Drill", body: "Opened by a drill; it may be closed." },
      commandId,
      token: target.token
    })
    const problem = decodeProblem(body)
    const error = problem._tag === "Some" ? (problem.value.type.split(":").at(-1) ?? "") : `status ${status}`
    return { atMs, lastedMs, commandId, ...judge(status, error) } satisfies WriteSeen
  })

const judge = (status: number, error: string): Pick<WriteSeen, "outcome" | "error"> => {
  if (status === 200) return { outcome: "accepted", error: "" }
  if (error === "OutcomeUnknown" || error === "CommandInProgress") return { outcome: "unknown", error }
  return { outcome: refusals.includes(error) ? "refused" : "failed", error: status === 0 ? "no answer" : error }
}

/** A graphql-ws connection; each close that we did not ask for is a cut, and it is opened again. */
export const keepSocket = (target: Target, log: Log) =>
  socketLife(target).pipe(
    Effect.andThen(Ref.update(log.socketCuts, (cuts) => cuts + 1)),
    Effect.repeat(Schedule.spaced("1 second"))
  )

/** Succeeds when the socket was closed by the other side. */
const socketLife = ({ realtimeUrl, token }: Target): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const socket = new WebSocket(`${realtimeUrl.replace("http", "ws")}/graphql`, "graphql-transport-ws")
    const finish = () => resume(Effect.void)
    socket.addEventListener("open", () => {
      const payload = { authorization: `Bearer ${Redacted.value(token)}` }
      socket.send(JSON.stringify({ type: "connection_init", payload }))
    })
    socket.addEventListener("message", ({ data }) => {
      if (String(data).includes('"ping"')) socket.send(JSON.stringify({ type: "pong" }))
    })
    socket.addEventListener("close", finish)
    socket.addEventListener("error", finish)
    return Effect.sync(() => {
      socket.removeEventListener("close", finish)
      socket.close(1000)
    })
  })
