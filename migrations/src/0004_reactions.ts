// Outgoing webhooks: one row per endpoint and event, so that each endpoint has a queue of its own and a dead one delays nobody.
import { statements } from "./Statements.ts"

export default statements([
  `CREATE TABLE core.webhook_delivery (
    endpoint text NOT NULL,
    event_id uuid NOT NULL,
    position bigint NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    PRIMARY KEY (endpoint, event_id)
  )`,
  `CREATE INDEX webhook_delivery_due ON core.webhook_delivery (endpoint, next_attempt_at) WHERE state = 'pending'`
])
