// Notices by PostgreSQL's LISTEN and NOTIFY. Listening has a connection of its own, outside the pool.
import { PgClient } from "@effect/sql-pg"
import { Presence as Limits } from "@holdfast/resilience/Limits"
import { Effect, Layer, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { Database } from "./Database.ts"
import { dedicatedClient, releasedInTime } from "./EventLogPostgres.ts"
import { Notices } from "./Notices.ts"

export const layer = Layer.effect(
  Notices,
  Effect.gen(function* () {
    const database = yield* Database
    const { config } = yield* PgClient.PgClient
    return Notices.of({
      tell: (channel, text) =>
        Effect.asVoid(database.run(SqlClient.SqlClient.use((sql) => sql`SELECT pg_notify(${channel}, ${text})`))),
      heard: (channel) => heard(config, channel)
    })
  })
)

const heard = (config: PgClient.PgClientConfig, channel: string): Stream.Stream<string> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const client = yield* dedicatedClient(config)
      return Stream.map(Stream.fromQueue(yield* client.listen(channel)), ({ payload }) => payload ?? "")
    }).pipe(releasedInTime)
  ).pipe(
    Stream.tapError((error) => Effect.logDebug(`listening to ${channel} broke off, it is tried again`, error)),
    Stream.retry(Schedule.jittered(Schedule.spaced(Limits.listenRetryDelay))),
    Stream.catchCause((cause) => Stream.fromEffectDrain(Effect.logError(`listening to ${channel} ended`, cause)))
  )
