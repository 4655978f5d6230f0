// What people are told of and how far they have read it, written by the consumer group `views`. A row without a kind was read before the event
// that it is about was seen: events of different streams come in any order, and both orders end the same.
import { statements } from "./Statements.ts"

export default statements([
  `CREATE TABLE read.notification (
    principal_id text NOT NULL,
    event_id uuid NOT NULL,
    position bigint NOT NULL,
    kind text,
    audience text,
    requester_id text,
    occurred_ms bigint NOT NULL,
    read_ms bigint,
    doc jsonb,
    PRIMARY KEY (principal_id, event_id)
  )`,
  `CREATE INDEX notification_newest ON read.notification (principal_id, position DESC)`,
  // Written in the order of time: finding the old ones costs next to nothing per insert.
  `CREATE INDEX notification_age ON read.notification USING brin (occurred_ms)`,
  `CREATE TABLE read.notification_reader (
    principal_id text PRIMARY KEY,
    read_up_to bigint NOT NULL,
    read_ms bigint NOT NULL
  )`
])
