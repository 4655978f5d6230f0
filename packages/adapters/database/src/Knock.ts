// Whether a PostgreSQL answers at all, asked so that one that hangs may answer late: it is one connection that is held until then. A
// connection that is given up stays in the server's queue, and one that hung for minutes under a question a second works off hundreds
// of them when it wakes before it sees anybody new. (PostgreSQL protocol 3.0, "SSLRequest": answered with one byte, by any server.)
import { connect } from "node:net"
import type { PgClient } from "@effect/sql-pg"
import { Database as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Duration, Effect, Redacted } from "effect"

type Dependency = "database" | "read-database"

const sslRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

/** Fails within `connectDeadline` when nobody takes the connection; one that was taken is waited for by whoever calls. */
export const knock = (dependency: Dependency, { url }: PgClient.PgClientConfig): Effect.Effect<void, Unavailable> =>
  Effect.callback((resume) => {
    const socket = connect(addressOf(url))
    const unanswered = setTimeout(
      () => away("connect_timeout", "the connection is not taken"),
      Duration.toMillis(Limits.connectDeadline)
    )
    const leave = () => {
      clearTimeout(unanswered)
      socket.destroy()
    }
    const away = (reason: "unreachable" | "connect_timeout" | "connection_lost", detail: string) => {
      leave()
      resume(Effect.fail(new Unavailable({ dependency, reason, detail, retryAfterMs: 0 })))
    }
    socket.once("connect", () => {
      clearTimeout(unanswered)
      socket.write(sslRequest)
    })
    socket.once("data", () => {
      leave()
      resume(Effect.void)
    })
    socket.once("error", (error) => away("unreachable", error.message))
    socket.once("close", () => away("connection_lost", "the connection was closed without an answer"))
    return Effect.sync(leave)
  })

const defaultPort = 5432

/** A folder in the query of the address is that of a Unix socket, as libpq has it. */
const addressOf = (url: Redacted.Redacted<string> | undefined) => {
  const { hostname, port, searchParams } = new URL(url === undefined ? "postgres://localhost" : Redacted.value(url))
  const folder = searchParams.get("host")
  const number = port === "" ? defaultPort : Number(port)
  if (folder?.startsWith("/")) return { path: `${folder}/.s.PGSQL.${number}` }
  // An IPv6 address stands in brackets in a URL, and without them everywhere else.
  return { host: hostname === "" ? "localhost" : hostname.replace(/^\[(.*)\]$/, "$1"), port: number }
}
