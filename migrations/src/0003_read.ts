// The read side: what the screens show, written by the consumer group `views` alone and made again from the log at any time. Each row
// holds its view as a document; the columns beside it are what lists, permissions and search look at. Times are milliseconds since
// 1970, as cursors have them. Close spelling matches need pg_trgm; without it search finds whole words and their beginnings only.
import { statements } from "./Statements.ts"

const unsolved = "status NOT IN ('solved', 'closed')"

export default statements([
  `CREATE TABLE read.ticket (
    id uuid PRIMARY KEY,
    version integer NOT NULL,
    number integer NOT NULL,
    status text NOT NULL,
    requester_id text NOT NULL,
    assignee_id text,
    updated_ms bigint NOT NULL,
    public_updated_ms bigint NOT NULL,
    subject_words text NOT NULL,
    doc jsonb NOT NULL
  )`,
  `CREATE INDEX ticket_number ON read.ticket (number)`,
  `CREATE INDEX ticket_all ON read.ticket (updated_ms DESC, id DESC)`,
  `CREATE INDEX ticket_open ON read.ticket (updated_ms DESC, id DESC) WHERE ${unsolved}`,
  `CREATE INDEX ticket_unassigned ON read.ticket (updated_ms DESC, id DESC) WHERE ${unsolved} AND assignee_id IS NULL`,
  `CREATE INDEX ticket_solved ON read.ticket (updated_ms DESC, id DESC) WHERE NOT (${unsolved})`,
  `CREATE INDEX ticket_mine ON read.ticket (assignee_id, updated_ms DESC, id DESC) WHERE ${unsolved}`,
  `CREATE INDEX ticket_requester ON read.ticket (requester_id, public_updated_ms DESC, id DESC)`,

  // A message carries the words of its ticket's subject, so that one index answers a search over both.
  `CREATE TABLE read.message (
    id uuid PRIMARY KEY,
    ticket_id uuid NOT NULL,
    version integer NOT NULL,
    audience text NOT NULL,
    requester_id text NOT NULL,
    words tsvector NOT NULL,
    doc jsonb NOT NULL,
    UNIQUE (ticket_id, version)
  )`,
  `CREATE INDEX message_words ON read.message USING gin (words)`,

  `CREATE TABLE read.file (
    id uuid PRIMARY KEY,
    version integer NOT NULL,
    owner_id text NOT NULL,
    ticket_id uuid,
    state text NOT NULL,
    doc jsonb NOT NULL
  )`,
  `CREATE INDEX file_ticket ON read.file (ticket_id) WHERE ticket_id IS NOT NULL`,

  `CREATE TABLE read.person (
    id text PRIMARY KEY,
    position bigint NOT NULL,
    name text,
    email text,
    role text
  )`,

  `CREATE TABLE read.projection_state (
    group_name text PRIMARY KEY,
    position bigint NOT NULL,
    as_of_ms bigint NOT NULL,
    moved_at_ms bigint NOT NULL
  )`,
  `INSERT INTO read.projection_state SELECT 'views', 0, ms, ms FROM (SELECT (extract(epoch FROM now()) * 1000)::bigint AS ms) AS now`,
  // Applied beyond a gap: see Progress.ts.
  `CREATE TABLE read.projection_ahead (
    group_name text NOT NULL,
    position bigint NOT NULL,
    occurred_at_ms bigint NOT NULL,
    PRIMARY KEY (group_name, position)
  )`,

  `DO $$ BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
  EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE 'pg_trgm is not available: %', SQLERRM;
  END $$`,
  `DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm') THEN
      EXECUTE 'CREATE INDEX ticket_subject ON read.ticket USING gin (subject_words gin_trgm_ops)';
      EXECUTE 'CREATE FUNCTION read.resembles(asked text, subject text) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN asked <% subject';
    ELSE
      EXECUTE 'CREATE FUNCTION read.resembles(asked text, subject text) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN false';
    END IF;
  END $$`
])
