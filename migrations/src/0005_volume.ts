// Hourly volume, and the inbox by which a reaction to an event on the read side counts it once: the row that says "done" commits with
// what was done.
import { statements } from "./Statements.ts"

export default statements([
  `CREATE TABLE read.inbox (
    group_name text NOT NULL,
    event_id uuid NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_name, event_id)
  )`,
  // Written in the order of time: finding the old ones costs next to nothing per insert.
  `CREATE INDEX inbox_handled_at ON read.inbox USING brin (handled_at)`,
  `CREATE TABLE read.volume_hourly (
    hour timestamptz PRIMARY KEY,
    opened integer NOT NULL DEFAULT 0,
    solved integer NOT NULL DEFAULT 0,
    replies integer NOT NULL DEFAULT 0
  )`
])
