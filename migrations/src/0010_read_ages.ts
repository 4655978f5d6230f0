// By which the sweeps of the inbox and of notifications find the oldest, for the reason of `0009_receipt_age`.
import { statements } from "./Statements.ts"

export default statements([
  `CREATE INDEX IF NOT EXISTS inbox_age ON read.inbox (handled_at)`,
  `DROP INDEX IF EXISTS read.inbox_handled_at`,
  `CREATE INDEX IF NOT EXISTS notification_since ON read.notification (occurred_ms)`,
  `DROP INDEX IF EXISTS read.notification_age`
])
