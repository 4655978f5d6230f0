// What is asked of the log about released files: those released lately, those that are to be looked at again, and the tickets on which one
// hangs. Each index holds the few events that it is about.
import { statements } from "./Statements.ts"

export default statements([
  `CREATE INDEX IF NOT EXISTS event_log_file_released ON core.event_log (position) WHERE type = 'FileReleased'`,
  `CREATE INDEX IF NOT EXISTS event_log_file_rescan ON core.event_log (position) WHERE type = 'FileRescanRequested'`,
  `CREATE INDEX IF NOT EXISTS event_log_file_attached ON core.event_log ((data->>'fileId')) WHERE type = 'FileAttached'`
])
