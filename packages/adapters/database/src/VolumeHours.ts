// Hourly volume on the read side. What an event adds is counted once: the inbox row that says so commits with it.
import type { EventId } from "@holdfast/contracts/Ids"
import type { VolumeDelta } from "@holdfast/domain/analytics/Volume"
import { Sweep } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, DateTime, Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { ReadDatabase } from "./Database.ts"

export interface Counted {
  readonly eventId: EventId
  readonly delta: VolumeDelta
}

export class VolumeHours extends Context.Service<
  VolumeHours,
  {
    /** What each event adds; all of it or nothing. Repeating it for the same event changes nothing. */
    add(counted: ReadonlyArray<Counted>): Effect.Effect<void, Unavailable>
    /** Forgets that old events were counted, some at a time; how many. */
    readonly sweep: Effect.Effect<number, Unavailable>
  }
>()("@holdfast/database/VolumeHours") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(ReadDatabase, (database) => ({
      add: (counted) => Effect.withSpan(database.run(add(counted)), "VolumeHours.add"),
      sweep: Effect.withSpan(database.run(sweep), "VolumeHours.sweep")
    }))
  )
}

/** One statement is one transaction: the second half happens only where the first half did. */
const add = Effect.fnUntraced(function* (counted: ReadonlyArray<Counted>) {
  const sql = yield* SqlClient.SqlClient
  const rows = counted.map(({ delta: { hour, opened, replies, solved }, eventId }) => ({
    ...{ event_id: eventId, hour: DateTime.formatIso(hour) },
    ...{ opened, solved, replies }
  }))
  yield* sql`
    WITH counted AS (
      SELECT DISTINCT ON (event_id) *
      FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS c(event_id uuid, hour timestamptz, opened int, solved int, replies int)
    ), fresh AS (
      INSERT INTO read.inbox (group_name, event_id) SELECT 'analytics', event_id FROM counted ON CONFLICT DO NOTHING RETURNING event_id
    )
    INSERT INTO read.volume_hourly AS v (hour, opened, solved, replies)
    SELECT hour, sum(opened), sum(solved), sum(replies) FROM counted JOIN fresh USING (event_id) GROUP BY hour ORDER BY hour
    ON CONFLICT (hour) DO UPDATE SET
      opened = v.opened + excluded.opened, solved = v.solved + excluded.solved, replies = v.replies + excluded.replies`
})

const sweep = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql`
    DELETE FROM read.inbox WHERE ctid IN (
      SELECT ctid FROM read.inbox
      WHERE handled_at < now() - ${Duration.toSeconds(Sweep.keepFor)} * interval '1 second'
      ORDER BY handled_at LIMIT ${Sweep.rowsMax}
    ) RETURNING 1`
  return rows.length
})
