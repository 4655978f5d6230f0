// How soon a desk has made up for an outage: when everything that was written before a moment is in the views and with every subscriber,
// and when every file that waited is released or rejected. Asked of the database itself, past every proxy.
import { Effect } from "effect"
import { type AuditTarget, permittedWhere, session } from "./Audit.ts"
import type { LedgerReader } from "./Ledger.ts"
import type { Feed } from "./LoadFeeds.ts"

export interface Drain {
  readonly viewsMs: number | null
  readonly feedsMs: number | null
}

export const drainedAlready: Drain = { viewsMs: null, feedsMs: null }

/**
 * Looks until everything that is written now has arrived, telling each step as it is reached; ends with the scope, or when all has
 * arrived. Times count from `fromMs`.
 */
export const watchDrain = Effect.fnUntraced(function* (
  target: AuditTarget,
  feeds: ReadonlyArray<Feed>,
  clock: { readonly nowMs: () => number; readonly fromMs: number },
  reached: (drain: Partial<Drain>) => void
) {
  const core = yield* session(target.databaseUrl)
  const read = yield* session(target.readDatabaseUrl)
  const sinceMs = () => clock.nowMs() - clock.fromMs
  const [newest] = yield* core("SELECT coalesce(max(seq), 0)::text AS seq FROM core.event_log")
  const until = yield* asked(
    core("SELECT position::float8 AS position FROM core.event_log WHERE seq <= $1::bigint ORDER BY seq DESC LIMIT 1", [
      newest?.seq
    ]).pipe(Effect.map(([row]) => (row === undefined ? 0 : row.position === null ? undefined : Number(row.position))))
  )
  const last = yield* Effect.forEach(feeds, (feed) => lastPermitted(core, feed, until))
  const viewsAre = read(
    "SELECT position::float8 AS position FROM read.projection_state WHERE group_name = 'views'"
  ).pipe(Effect.map(([row]) => (Number(row?.position ?? 0) >= until ? sinceMs() : undefined)))
  const feedsAre = Effect.sync(() =>
    last.every(({ feed, position }) => feed.lastPosition >= position) ? sinceMs() : undefined
  )
  yield* Effect.all(
    [
      Effect.map(asked(viewsAre), (viewsMs) => reached({ viewsMs })),
      Effect.map(asked(feedsAre), (feedsMs) => reached({ feedsMs }))
    ],
    { concurrency: "unbounded", discard: true }
  )
})

const lastPermitted = (core: Effect.Success<ReturnType<typeof session>>, feed: Feed, until: number) => {
  const { parameters, text } = permittedWhere(feed.terms)
  return core(
    `SELECT coalesce(max(position), 0)::float8 AS position FROM core.event_log
     WHERE position > $3::bigint AND position <= $4::bigint AND ${text}`,
    [...parameters, feed.terms.after, until]
  ).pipe(Effect.map(([row]) => ({ feed, position: Number(row?.position ?? 0) })))
}

/** Those that the desk said it has. */
export const acceptedUploads = (ledger: LedgerReader) =>
  Effect.promise(async () => {
    const accepted = new Set<string>()
    for await (const batch of ledger.uploads()) {
      for (const { fileId, told } of batch) if (told === "accepted") accepted.add(fileId)
    }
    return accepted
  })

/** Settles once each of these files is released or rejected. */
export const untilFinished = Effect.fnUntraced(function* (target: AuditTarget, fileIds: ReadonlySet<string>) {
  const core = yield* session(target.databaseUrl)
  const ids = JSON.stringify([...fileIds])
  const areFinished = core(
    `SELECT count(DISTINCT stream_id)::float8 AS count FROM core.event_log WHERE type IN ('FileReleased', 'FileRejected')
     AND stream_id IN (SELECT value::uuid FROM jsonb_array_elements_text($1::text::jsonb))`,
    [ids]
  ).pipe(Effect.map(([row]) => (Number(row?.count) === fileIds.size ? true : undefined)))
  yield* asked(areFinished)
})

/** Again and again until there is an answer. */
const asked = <A, E>(question: Effect.Effect<A | undefined, E>): Effect.Effect<A, E> =>
  Effect.flatMap(question, (answer) =>
    answer === undefined ? Effect.delay(asked(question), "100 millis") : Effect.succeed(answer)
  )
