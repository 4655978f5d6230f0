// Connections to PostgreSQL. Each client is a pool of its own with the limits of its side sent at connection start, so that the server
// itself ends what runs too long even if this process is gone, and both ends notice when the other one has vanished. Connecting is lazy: a process starts, and stays, while the server
// is away. JSON is never rewritten, and names in SQL are used as they are.
import { PgClient } from "@effect/sql-pg"
import { Commands, Database as Limits } from "@holdfast/resilience/Limits"
import { Context, Duration, Effect, Layer, type Redacted } from "effect"

export interface ClientOptions {
  readonly url: Redacted.Redacted<string>
  /** Shown by the server in `pg_stat_activity`: the process and its role. */
  readonly applicationName: string
  /** For a process whose statements may take longer than a person waits, such as a projection's writes. */
  readonly statementDeadline?: Duration.Duration
}

/** The client of the read side, which may be another server. */
export class ReadClient extends Context.Service<ReadClient, PgClient.PgClient>()("@holdfast/database/ReadClient") {}

interface SideLimits {
  readonly connectDeadline: Duration.Duration
  readonly statementDeadline: Duration.Duration
}

const configuration = (options: ClientOptions, limits: SideLimits): PgClient.PgPoolConfig => ({
  url: options.url,
  applicationName: options.applicationName,
  maxConnections: Limits.poolConnectionsMax + Limits.reservedConnectionsMax,
  connectTimeout: limits.connectDeadline,
  keepAlive: Limits.keepAliveAfter,
  startupParameters: {
    statement_timeout: String(Duration.toMillis(options.statementDeadline ?? limits.statementDeadline)),
    lock_timeout: String(Duration.toMillis(Commands.lockDeadline)),
    idle_in_transaction_session_timeout: String(Duration.toMillis(Limits.idleInTransactionDeadline)),
    tcp_keepalives_idle: String(Duration.toSeconds(Limits.keepAliveAfter)),
    tcp_keepalives_interval: String(Duration.toSeconds(Limits.keepAliveInterval)),
    tcp_keepalives_count: String(Limits.keepAliveProbesMax),
    tcp_user_timeout: String(Duration.toMillis(Limits.unconfirmedMax)),
    timezone: "UTC"
  },
  transformJson: false
})

/** The core database: `PgClient` and `SqlClient`. */
export const layer = (options: ClientOptions) =>
  PgClient.layer(
    configuration(options, {
      connectDeadline: Limits.connectDeadline,
      statementDeadline: Commands.statementDeadline
    })
  )

/** The read database: `ReadClient` only, so that nobody reads from or writes to the wrong side by accident. */
export const layerRead = (options: ClientOptions) =>
  Layer.effect(ReadClient, PgClient.PgClient.pipe(Effect.map((client) => ReadClient.of(client)))).pipe(
    Layer.provide(
      Layer.fresh(
        PgClient.layer(
          configuration(options, {
            connectDeadline: Limits.readConnectDeadline,
            statementDeadline: Limits.readDeadline
          })
        )
      )
    )
  )
