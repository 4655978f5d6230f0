// Brings a database to the schema that this version of the desk needs, forward only, while an older version runs on it. Started twice at
// once, the second waits, finds nothing to do and succeeds; failed half way, it goes on where it was. The core and the read side may live
// on different servers, so each has its own list, its own schema and its own record of what was run.
import { Effect } from "effect"
import core0001 from "./0001_core.ts"
import core0002 from "./0002_events.ts"
import read0003 from "./0003_read.ts"
import core0004 from "./0004_reactions.ts"
import read0005 from "./0005_volume.ts"
import core0006 from "./0006_log_identity.ts"
import core0007 from "./0007_rescans.ts"
import read0008 from "./0008_notifications.ts"
import core0009 from "./0009_receipt_age.ts"
import read0010 from "./0010_read_ages.ts"
import { lastExpanded, pendingSteps, runSteps, type Steps } from "./Steps.ts"

/** Numbers are shared by both sides and never reused. */
const steps = {
  core: {
    expand: {
      "0001_core": core0001,
      "0002_events": core0002,
      "0004_reactions": core0004,
      "0006_log_identity": core0006,
      "0007_rescans": core0007,
      "0009_receipt_age": core0009
    },
    backfill: [],
    contract: []
  },
  read: {
    expand: {
      "0003_read": read0003,
      "0005_volume": read0005,
      "0008_notifications": read0008,
      "0010_read_ages": read0010
    },
    backfill: [],
    contract: []
  }
} as const satisfies Record<string, Steps>

export type Side = keyof typeof steps

const lastOf = (side: Side): number =>
  Math.max(...Object.keys(steps[side].expand).map((name) => Number.parseInt(name, 10)))

/** What processes of this version call themselves by towards the database; it grows with the schema that they need. */
export const schemaRelease = Math.max(lastOf("core"), lastOf("read"))

/** The names that were run now; empty when the schema was current. */
export const migrate = (side: Side) => runSteps(side, steps[side])

/** What this version would still run, and what waits for older processes to end. */
export const pending = (side: Side) => pendingSteps(side, steps[side])

/** Whether this side's schema has all that processes of this version use; a newer one has, too. */
export const isRecent = (side: Side) => Effect.map(lastExpanded(side), (last) => last >= lastOf(side))

/** Both sides on one server: how every test and the embedded default begin. */
export const migrateAll = Effect.all([migrate("core"), migrate("read")]).pipe(Effect.map((ran) => ran.flat()))
