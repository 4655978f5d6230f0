// What happens to events after their command: the relay's state, the cursors of consumers that read the log itself, and the events
// that were parked. Positions are given by one function that holds the relay's only row while it runs, so that they are gapless
// whoever calls it and however transactions committed.
import { statements } from "./Statements.ts"

export default statements([
  `CREATE TABLE core.relay_state (
    id integer PRIMARY KEY CHECK (id = 1),
    last_position bigint NOT NULL,
    published_position bigint NOT NULL
  )`,
  `INSERT INTO core.relay_state (id, last_position, published_position) VALUES (1, 0, 0)`,

  // Each statement of a function takes a snapshot of its own: what is read after the lock is what the previous holder left. Looking
  // before locking keeps an idle relay from writing anything at all.
  `CREATE FUNCTION core.assign_positions(count_max integer) RETURNS integer LANGUAGE plpgsql AS $$
  DECLARE
    base bigint;
    assigned integer;
  BEGIN
    IF NOT EXISTS (SELECT 1 FROM core.event_log WHERE position IS NULL) THEN
      RETURN 0;
    END IF;
    SELECT last_position INTO base FROM core.relay_state WHERE id = 1 FOR UPDATE;
    WITH next AS (
      SELECT seq, row_number() OVER (ORDER BY seq) AS place
      FROM (SELECT seq FROM core.event_log WHERE position IS NULL ORDER BY seq LIMIT count_max) AS oldest
    )
    UPDATE core.event_log SET position = base + next.place FROM next WHERE event_log.seq = next.seq;
    GET DIAGNOSTICS assigned = ROW_COUNT;
    IF assigned > 0 THEN
      UPDATE core.relay_state SET last_position = base + assigned WHERE id = 1;
      PERFORM pg_notify('holdfast_position', (base + assigned)::text);
    END IF;
    RETURN assigned;
  END
  $$`,

  `CREATE TABLE core.consumer_cursor (
    group_name text PRIMARY KEY,
    position bigint NOT NULL
  )`,

  // A stream is blocked for a group exactly while it has a row here; both tables change together, under this row's lock.
  `CREATE TABLE core.parked_stream (
    group_name text NOT NULL,
    stream_id uuid NOT NULL,
    replay boolean NOT NULL DEFAULT false,
    lease_until timestamptz,
    PRIMARY KEY (group_name, stream_id)
  )`,
  `CREATE TABLE core.parked_event (
    group_name text NOT NULL,
    event_id uuid NOT NULL,
    stream_id uuid NOT NULL,
    position bigint NOT NULL,
    type text NOT NULL,
    reason text NOT NULL,
    attempts integer NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_name, event_id),
    FOREIGN KEY (group_name, stream_id) REFERENCES core.parked_stream ON DELETE CASCADE
  )`,
  `CREATE INDEX parked_event_stream ON core.parked_event (group_name, stream_id, position)`
])
