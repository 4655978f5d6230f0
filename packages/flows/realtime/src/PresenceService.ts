// Presence as the gateway runs it: who may ask and say, how often, and the way to the other gateways and back. Staff may look at every ticket;
// whose ticket a customer names is asked as a query would ask it, and what is not certainly theirs is refused. While the broker is away the
// people of this gateway still see each other.
import { randomUUID } from "node:crypto"
import { Signals } from "@holdfast/broker/Signals"
import type { TicketId } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { isStaff } from "@holdfast/contracts/Principal"
import { GraphqlExecutor } from "@holdfast/contracts/wire/GraphqlExecutor"
import { deadline } from "@holdfast/resilience/Deadline"
import { Presence as Limits } from "@holdfast/resilience/Limits"
import { ByteSize, Clock, Duration, Effect, Schema, Stream } from "effect"
import { type DocumentNode, type ExecutionResult, execute, GraphQLError } from "graphql"
import type { SubscribePayload } from "graphql-ws"
import { PresenceHub } from "./PresenceHub.ts"
import { realtimeSchema, Typing } from "./RealtimeSchema.ts"

export interface PresenceService {
  readonly hub: PresenceHub
  /** Null: they may. Asked before each subscription. */
  readonly refusal: (reader: Principal, ticketId: TicketId) => Promise<GraphQLError | null>
  /** Runs a valid mutation of one connection, which is what its budget is for. */
  readonly mutate: (
    connection: object,
    writer: Principal,
    document: DocumentNode,
    payload: SubscribePayload
  ) => Promise<ExecutionResult>
}

export const makePresence = Effect.gen(function* () {
  const run = Effect.runPromiseWith(yield* Effect.context<GraphqlExecutor>())
  const clock = yield* Clock.Clock
  const nowMs = () => clock.currentTimeMillisUnsafe()
  const hub = new PresenceHub({
    gateway: randomUUID(),
    viewingMs: Duration.toMillis(Limits.viewingLasts),
    writingMs: Duration.toMillis(Limits.writingLasts),
    announceMs: Duration.toMillis(Limits.announceInterval),
    roundMs: Duration.toMillis(Limits.roundInterval),
    signalBytesMax: ByteSize.toNumberUnsafe(Limits.signalBytesMax),
    sightingsPerFlushMax: Limits.sightingsPerFlushMax,
    ticketsMax: Limits.ticketsMax,
    peoplePerTicketMax: Limits.peoplePerTicketMax,
    peopleShownMax: Limits.peopleShownMax
  })
  const budgets = new WeakMap<object, Budget>()
  const refusal: PresenceService["refusal"] = (reader, ticketId) => run(refusalOf(reader, ticketId))
  const mutate: PresenceService["mutate"] = async (connection, writer, document, payload) => {
    const typing = new Typing(async (ticketId, writing) => {
      if (!mayType(budgets, connection, nowMs())) return false
      const refused = await refusal(writer, ticketId)
      if (refused !== null) throw refused
      hub.type(ticketId, writer, writing, nowMs())
      return true
    })
    return await execute({
      schema: realtimeSchema,
      document,
      contextValue: typing,
      operationName: payload.operationName ?? null,
      variableValues: payload.variables ?? null
    })
  }
  return { hub, refusal, mutate } satisfies PresenceService
})

/** What time asks for, and what goes to the other gateways. */
export const keepPresence = (hub: PresenceHub) =>
  Effect.forever(Effect.andThen(tellPresence(hub), Effect.sleep(Limits.flushInterval)))

export const tellPresence = Effect.fnUntraced(function* (hub: PresenceHub) {
  const signals = yield* Signals
  const texts = hub.flush(yield* Clock.currentTimeMillis)
  yield* Effect.forEach(texts, signals.publish, { discard: true })
})

/** What comes from them. */
export const hearPresence = (hub: PresenceHub): Effect.Effect<never, never, Signals> =>
  Effect.gen(function* () {
    const signals = yield* Signals
    yield* Stream.runForEach(signals.received, (text) =>
      Effect.map(Clock.currentTimeMillis, (nowMs) => hub.receive(text, nowMs))
    )
    // It never ends by itself; should that change, it is asked again.
    yield* Effect.sleep(Limits.listenRetryDelay)
  }).pipe(Effect.forever)

interface Budget {
  left: number
  atMs: number
}

const mayType = (budgets: WeakMap<object, Budget>, connection: object, nowMs: number): boolean => {
  const budget = budgets.get(connection) ?? { left: Limits.typingBurstMax, atMs: nowMs }
  const earned = ((nowMs - budget.atMs) / 1000) * Limits.typingPerSecondMax
  const left = Math.min(Limits.typingBurstMax, budget.left + earned)
  const isLeft = left >= 1
  budgets.set(connection, { left: isLeft ? left - 1 : left, atMs: nowMs })
  return isLeft
}

const ownerQuery = "query ($id: ID!) { ticket(id: $id) { id } }"
const isShown = Schema.is(Schema.Struct({ data: Schema.Struct({ ticket: Schema.Struct({ id: Schema.String }) }) }))
const isNotShown = Schema.is(
  Schema.Struct({ data: Schema.Struct({ ticket: Schema.Null }), errors: Schema.optionalKey(Schema.Undefined) })
)

/** A ticket that is not there is refused like one that is somebody else's. */
const refusalOf = Effect.fn("Presence.refusal")(function* (reader: Principal, ticketId: TicketId) {
  if (isStaff(reader)) return null
  const executor = yield* GraphqlExecutor
  const response: unknown = yield* executor.execute(reader, { query: ownerQuery, variables: { id: ticketId } }).pipe(
    deadline(Limits.ownerDeadline),
    Effect.catchTag("TimeoutError", () => Effect.succeed(null))
  )
  if (isShown(response)) return null
  return isNotShown(response) ? notTheirs : unknownWhose
})

const notTheirs = new GraphQLError("There is no such ticket of yours.", { extensions: { code: "FORBIDDEN" } })
const unknownWhose = new GraphQLError("Whose ticket this is cannot be found out just now; try again.", {
  extensions: { code: "READ_UNAVAILABLE" }
})
