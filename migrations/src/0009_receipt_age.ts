// By which the sweep of receipts finds those whose time is over. A BRIN index knows nothing of pages that no vacuum has seen yet, so the sweep read
// nearly the whole table whenever vacuum was late; a B-tree that grows at its end costs each command little and finds the oldest at once.
import { statements } from "./Statements.ts"

export default statements([
  `CREATE INDEX IF NOT EXISTS command_receipt_age ON core.command_receipt (expires_at)`,
  `DROP INDEX IF EXISTS core.command_receipt_expires_at`
])
