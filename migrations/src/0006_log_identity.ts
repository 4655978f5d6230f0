// Which log this is: a message broker may still hold the events of another one, of a database that was replaced or restored, and their
// positions say nothing of that.
import { statements } from "./Statements.ts"

export default statements(["ALTER TABLE core.relay_state ADD COLUMN log_id uuid NOT NULL DEFAULT gen_random_uuid()"])
