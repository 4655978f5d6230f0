// Hourly volume on the read side. What an event adds is counted once: the inbox row that says so commits with it.
import type { EventId } from "@holdfast/contracts/Ids"
import type { VolumeDelta } from "@holdfast/domain/analytics/Volume"
import { Sweep } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, DateTime, Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { ReadDatabase } from "./Database.ts"

export class VolumeHours extends Context.Service<
  VolumeHours,
  {
    /** Repeating it for the same event changes nothing. */
    add(eventId: EventId, delta: VolumeDelta): Effect.Effect<void, Unavailable>
    /** Forgets that old events were counted, some at a time; how many. */
    readonly sweep: Effect.Effect<number, Unavailable>
  }
>()("@holdfast/database/VolumeHours") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(ReadDatabase, (database) => ({
      add: (eventId, delta) => Effect.withSpan(database.run(add(eventId, delta)), "VolumeHours.add"),
      sweep: Effect.withSpan(database.run(sweep), "VolumeHours.sweep")
    }))
  )
}

/** One statement is one transaction: the second half happens only where the first half did. */
const add = Effect.fnUntraced(function* (eventId: EventId, { hour, opened, replies, solved }: VolumeDelta) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    WITH fresh AS (
      INSERT INTO read.inbox (group_name, event_id) VALUES ('analytics', ${eventId}) ON CONFLICT DO NOTHING RETURNING 1
    )
    INSERT INTO read.volume_hourly AS v (hour, opened, solved, replies)
    SELECT ${DateTime.toDateUtc(hour)}::timestamptz, ${opened}::int, ${solved}::int, ${replies}::int FROM fresh
    ON CONFLICT (hour) DO UPDATE SET
      opened = v.opened + excluded.opened, solved = v.solved + excluded.solved, replies = v.replies + excluded.replies`
})

const sweep = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql`
    DELETE FROM read.inbox WHERE ctid IN (
      SELECT ctid FROM read.inbox
      WHERE handled_at < now() - ${Duration.toSeconds(Sweep.keepFor)} * interval '1 second' LIMIT ${Sweep.rowsMax}
    ) RETURNING 1`
  return rows.length
})
