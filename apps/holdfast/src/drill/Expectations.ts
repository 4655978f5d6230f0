// The failure matrix: what each path owes its users while a dependency fails, whichever way it fails. The drill measures; this says what was
// promised. Pure data.
import type { Path } from "./Tally.ts"

/**
 * answered: every request is answered, live or cached. refused: each is answered or refused in plain words. kept: sockets stay and are told
 * when they are stale. cut: it is the failing part itself, so requests may fail until it is back. late: it waits and is made up for.
 */
export type Owed = "answered" | "refused" | "kept" | "cut" | "late"

export type Row = Readonly<Record<Path, Owed>>

const unaffected: Row = {
  commands: "answered",
  queries: "answered",
  realtime: "kept",
  uploads: "answered",
  downloads: "answered",
  reactions: "late"
}

const rows: Readonly<Record<string, Row>> = {
  postgres: { ...unaffected, commands: "refused" },
  "read-database": unaffected,
  rabbitmq: unaffected,
  redis: unaffected,
  clamd: unaffected,
  keys: unaffected,
  "command-api": { ...unaffected, commands: "cut" },
  "query-api": { ...unaffected, queries: "cut" },
  "realtime-gateway": { ...unaffected, realtime: "cut" },
  "file-gateway": { ...unaffected, uploads: "cut", downloads: "cut" },
  "event-worker": unaffected,
  "file-worker": unaffected
}

export const expectationsFor = (dependency: string): Row => rows[dependency] ?? unaffected
