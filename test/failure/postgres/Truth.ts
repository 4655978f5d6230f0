// What is really in the database, asked past every fault and every guard.
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { Duration, Effect, Redacted, Schedule } from "effect"
import { SqlClient } from "effect/sql"

export interface Truth {
  url: string
  readonly ask: <Row extends object>(
    statement: string,
    parameters?: ReadonlyArray<unknown>
  ) => Promise<ReadonlyArray<Row>>
}

export const truthAt = (url: string): Truth => {
  const truth: Truth = {
    url,
    ask: <Row extends object>(statement: string, parameters: ReadonlyArray<unknown> = []) =>
      SqlClient.SqlClient.use((sql) => sql.unsafe<Row>(statement, parameters)).pipe(
        Effect.provide(
          ClientPostgres.layer({
            url: Redacted.make(truth.url),
            applicationName: "truth",
            statementDeadline: Duration.seconds(10)
          }),
          { local: true }
        ),
        // A busy machine may connect too late; each statement here may be repeated.
        Effect.retry({ times: 5, schedule: Schedule.spaced("200 millis") }),
        Effect.runPromise
      )
  }
  return truth
}
