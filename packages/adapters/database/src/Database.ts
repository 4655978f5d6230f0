// The two databases as the desk calls them: every statement through a guard, so that none waits for ever and an outage is one typed
// error. What a server that is well refuses, and the caller did not expect, is a broken invariant and dies.
import { PgClient } from "@effect/sql-pg"
import { deadline } from "@holdfast/resilience/Deadline"
import { type Guard, makeGuard } from "@holdfast/resilience/Guard"
import type { Health } from "@holdfast/resilience/Health"
import { Breaker, Commands, Database as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, Duration, Effect, Layer, type Scope } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { ReadClient } from "./ClientPostgres.ts"
import { knock } from "./Knock.ts"
import { isContention, toFailure } from "./SqlFailure.ts"
import { isReadOnly, leaveStandby } from "./Standby.ts"

export interface GuardedDatabase {
  /**
   * Runs statements on this database (it provides the client) within the guard's deadline, or the given one. A refusal that the
   * caller expects, such as a unique violation, is caught inside `effect`; lock waits and deadlocks come out as `Unavailable`
   * with reason `refused`, without counting against the server.
   */
  run<A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options?: { readonly deadline?: Duration.Duration }
  ): Effect.Effect<A, Exclude<E, SqlError.SqlError> | Unavailable, Exclude<R, SqlClient.SqlClient | PgClient.PgClient>>
}

/**
 * Who waits for the answers. People are refused soon when all connections are busy; work that nobody waits for queues instead of being
 * refused, pausing and coming back, which left the server idle and the work undone.
 */
export type Callers = "people" | "work"

/** The core database: commands, the event log, the workers' state. */
export class Database extends Context.Service<Database, GuardedDatabase>()("@holdfast/database/Database") {
  static readonly layerFor = (callers: Callers): Layer.Layer<Database, never, PgClient.PgClient | Health> =>
    Layer.effect(
      this,
      Effect.suspend(() =>
        guarded(PgClient.PgClient, callers, {
          dependency: "database",
          deadline: Duration.sum(Commands.statementDeadline, Commands.poolAcquireDeadline)
        })
      )
    )
  static readonly layer = this.layerFor("people")
}

/** The read database: views and what projects them. */
export class ReadDatabase extends Context.Service<ReadDatabase, GuardedDatabase>()("@holdfast/database/ReadDatabase") {
  static readonly layerFor = (callers: Callers): Layer.Layer<ReadDatabase, never, ReadClient | Health> =>
    Layer.effect(
      this,
      Effect.suspend(() => guarded(ReadClient, callers, { dependency: "read-database", deadline: Limits.readDeadline }))
    )
  static readonly layer = this.layerFor("people")
}

interface SideOptions {
  readonly dependency: "database" | "read-database"
  readonly deadline: Duration.Duration
}

const guarded = <Id>(
  tag: Context.Key<Id, PgClient.PgClient>,
  callers: Callers,
  options: SideOptions
): Effect.Effect<GuardedDatabase, never, Id | Health | Scope.Scope> =>
  Effect.gen(function* () {
    const client = yield* tag
    const guard = yield* makeGuard({
      ...options,
      concurrencyMax: Limits.poolConnectionsMax,
      acquireDeadline: callers === "people" ? Commands.poolAcquireDeadline : Limits.workAcquireDeadline,
      // A standby answers, and takes no write.
      probe: options.dependency === "database" ? primaryAnswers(client) : client`SELECT 1`,
      knock: { ask: knock(options.dependency, client.config), deadline: Limits.knockDeadline },
      watch: { quietMax: Breaker.quietMax },
      toFailure
    })
    const provided = Context.make(PgClient.PgClient, client).pipe(Context.add(SqlClient.SqlClient, client))
    const elsewhere = goElsewhere(client)
    return {
      run: (effect, runOptions) => {
        const here = Effect.provide(effect, provided).pipe(
          Effect.tapError((e) => (isReadOnly(e) ? elsewhere : Effect.void))
        )
        return refusalsDie(options, guard, here, runOptions)
      }
    }
  })

const goElsewhere = (client: PgClient.PgClient) => Effect.ignore(deadline(Limits.connectDeadline)(leaveStandby(client)))

const primaryAnswers = (client: PgClient.PgClient) =>
  Effect.flatMap(client`SELECT 1 WHERE NOT pg_is_in_recovery()`, (rows) =>
    rows.length > 0 ? Effect.void : Effect.andThen(goElsewhere(client), Effect.fail(standby))
  )

const standby = new Unavailable({
  dependency: "database",
  reason: "refused",
  retryAfterMs: Duration.toMillis(Breaker.restNear.min),
  detail: "its address leads to a standby"
})

const refusalsDie = <A, E, R>(
  options: SideOptions,
  guard: Guard,
  effect: Effect.Effect<A, E, R>,
  runOptions: { readonly deadline?: Duration.Duration } | undefined
): Effect.Effect<A, Exclude<E, SqlError.SqlError> | Unavailable, R> =>
  guard.call(effect, runOptions).pipe(
    Effect.catch((error): Effect.Effect<never, Exclude<E, SqlError.SqlError> | Unavailable> => {
      if (error instanceof Unavailable) return Effect.fail(error)
      if (isContention(error)) return Effect.fail(contention(options))
      return isOwnError(error) ? Effect.fail(error) : Effect.die(error)
    })
  )

const isOwnError = <E>(error: E): error is Exclude<E, SqlError.SqlError> => !SqlError.isSqlError(error)

const contentionRetryAfterMs = Duration.toMillis(Commands.contendedRetryAfter)

const contention = ({ dependency }: SideOptions) =>
  new Unavailable({
    dependency,
    reason: "refused",
    retryAfterMs: contentionRetryAfterMs,
    detail: "another transaction holds what this one needs"
  })
