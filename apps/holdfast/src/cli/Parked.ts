// `holdfast parked`: events that a consumer could not handle, each with the later events of its stream. Looking changes nothing; `replay`
// hands a stream to its consumer again; `drop` gives one event up for good.

import { EventId, StreamId } from "@holdfast/contracts/Ids"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { Database } from "@holdfast/database/Database"
import { ParkedEvents } from "@holdfast/database/ParkedEvents"
import { Health } from "@holdfast/resilience/Health"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Console, DateTime, Effect, Layer, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { refuse } from "../Refusal.ts"
import { readSettings } from "../Settings.ts"
import { table } from "../Table.ts"
import { deskDatabaseUrl } from "./DeskDatabase.ts"
import { json } from "./Up.ts"

const services = Effect.gen(function* () {
  const url = yield* deskDatabaseUrl(yield* readSettings)
  return ParkedEvents.layer.pipe(
    Layer.provide(Database.layer),
    Layer.provide(ClientPostgres.layer({ url, applicationName: "holdfast-parked" })),
    Layer.provide(Health.layer)
  )
})

const withParked = <A>(use: (parked: ParkedEvents["Service"]) => Effect.Effect<A, Unavailable>) =>
  Effect.flatMap(services, (layer) => Effect.flatMap(ParkedEvents, use).pipe(Effect.provide(layer))).pipe(
    Effect.mapError((error) => {
      if (error._tag === "Refusal") return error
      return refuse(`The database does not answer: ${error._tag === "Unavailable" ? error.detail : error.message}`)
    })
  )

const group = Argument.String("group").pipe(Argument.withDescription("The consumer group, as `list` shows it"))
const eventId = Argument.String("event").pipe(Argument.withSchema(EventId))
const streamId = Argument.String("stream").pipe(Argument.withSchema(StreamId))

const list = Command.make(
  "list",
  { json, group: Flag.String("group").pipe(Flag.withDescription("Only this consumer group"), Flag.optional) },
  Effect.fn("holdfast.parked.list")(function* (options) {
    const only = Option.match(options.group, { onNone: () => ({}), onSome: (name) => ({ group: name }) })
    const events = yield* withParked((parked) => parked.list(only))
    if (options.json) return yield* Console.log(JSON.stringify(events))
    if (events.length === 0) return yield* Console.log("Nothing is parked.")
    const rows = events.map((event) => [
      ...[event.group, event.eventId, event.streamId, String(event.position), event.type, String(event.attempts)],
      ...[DateTime.formatIso(event.parkedAt), event.replaying ? "yes" : "", event.reason]
    ])
    const head = ["group", "event", "stream", "position", "type", "attempts", "parked at", "replaying", "reason"]
    yield* Console.log(table(head, rows))
  })
).pipe(Command.withDescription("Show what is parked"))

const show = Command.make(
  "show",
  { eventId },
  Effect.fn("holdfast.parked.show")(function* (options) {
    const found = yield* withParked((parked) => parked.show(options.eventId))
    if (found.length === 0) return yield* refuse(`${options.eventId} is not parked.`)
    yield* Console.log(JSON.stringify(found, null, 2))
  })
).pipe(Command.withDescription("Show one parked event with its content"))

const replay = Command.make(
  "replay",
  { group, streamId },
  Effect.fn("holdfast.parked.replay")(function* (options) {
    const count = yield* withParked((parked) => parked.replay(options.group, options.streamId))
    if (count === 0) return yield* refuse(`${options.group} has nothing parked of stream ${options.streamId}.`)
    yield* Console.log(`${count} ${count === 1 ? "event goes" : "events go"} to ${options.group} again, in order.`)
  })
).pipe(Command.withDescription("Hand a stream's parked events to their consumer again"))

const drop = Command.make(
  "drop",
  { group, eventId },
  Effect.fn("holdfast.parked.drop")(function* (options) {
    const dropped = yield* withParked((parked) => parked.drop(options.group, options.eventId))
    if (!dropped) return yield* refuse(`${options.group} has not parked ${options.eventId}.`)
    yield* Console.log(
      `${options.group} will never handle ${options.eventId}. Replay its stream to go on with the rest.`
    )
  })
).pipe(Command.withDescription("Give one parked event up for good"))

export const parked = Command.make("parked").pipe(
  Command.withDescription("Events that a consumer could not handle"),
  Command.withSubcommands([list, show, replay, drop])
)
