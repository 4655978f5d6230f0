// Deadlines nest from the edge to the statement: whatever is inside ends first, so that its typed answer, and not the edge's "too late",
// is what a caller gets, and nothing outlives who waits for it. One row per place; a changed limit that breaks the order fails here.
import { expect, it } from "@effect/vitest"
import { Duration } from "effect"
import {
  Breaker,
  Broker,
  Cache,
  Commands,
  Consumer,
  Converter,
  Database,
  EmbeddedDatabase,
  Http,
  Parking,
  Pipeline,
  Process,
  Queries,
  Realtime,
  Scanner,
  Supervisor,
  Telemetry,
  Webhooks
} from "../src/Limits.ts"

/** One statement of the core database as its guard sends it: its turn, then the guard's own deadline. */
const guardedStatement = [Commands.poolAcquireDeadline, Commands.statementDeadline, Commands.poolAcquireDeadline]

type Row = readonly [outside: string, limit: Duration.Duration, inside: ReadonlyArray<Duration.Duration>]

const rows: ReadonlyArray<Row> = [
  // Several statements may follow each other (load, append, again): none is begun after the request's end, which says what is known.
  ["a command's request: each of its statements", Commands.requestDeadline, guardedStatement],
  ["a statement: a wait for a lock", Commands.statementDeadline, [Commands.lockDeadline]],
  ["a statement: connecting", Commands.statementDeadline, [Database.connectDeadline]],
  [
    "a transaction that says nothing: the statements of a command",
    Database.idleInTransactionDeadline,
    guardedStatement
  ],
  ["a read: connecting", Database.readDeadline, [Database.readConnectDeadline]],
  [
    "a query: waiting for a version, the read database, then the cache",
    Queries.requestDeadline,
    [
      Queries.versionWait,
      ...[Commands.poolAcquireDeadline, Database.readDeadline],
      ...[Cache.acquireDeadline, Cache.readDeadline]
    ]
  ],
  [
    "a query on a socket: the read database, then the cache",
    Realtime.queryDeadline,
    [Commands.poolAcquireDeadline, Database.readDeadline, Cache.acquireDeadline, Cache.readDeadline]
  ],
  ["a silent socket: two pings", Realtime.silenceMax, [Realtime.pingInterval, Realtime.pingInterval]],
  [
    "a consumer's turn: a transaction of views, then the cache",
    Consumer.handleDeadline,
    [Database.workAcquireDeadline, Database.projectionDeadline, Cache.acquireDeadline, Cache.writeDeadline]
  ],
  [
    "a consumer's turn: a command of the desk's own, and reading what it is about",
    Consumer.handleDeadline,
    [Commands.requestDeadline, Database.workAcquireDeadline, Commands.statementDeadline]
  ],
  [
    "a consumer's turn: a stage of the pipeline that goes on without it",
    Consumer.handleDeadline,
    [Pipeline.turnDeadline]
  ],
  [
    "the claim of a replayed event: its turn, and settling it",
    Parking.lease,
    [Consumer.handleDeadline, ...guardedStatement]
  ],
  [
    "the claim of a batch of webhooks: all of it, as many at once as may be",
    Webhooks.claim,
    [
      Duration.times(
        Duration.sum(Webhooks.acquireDeadline, Webhooks.requestDeadline),
        Math.ceil(Webhooks.batchMax / Webhooks.underWayMax)
      )
    ]
  ],
  ["a webhook: connecting", Webhooks.requestDeadline, [Webhooks.connectDeadline]],
  ["a scan: its tool", Scanner.baseDeadline, [Scanner.toolDeadline]],
  ["a conversion: its processor time", Duration.sum(Converter.deadline, Converter.killDeadline), [Converter.deadline]],
  ["a broker's call: a probe", Broker.callDeadline, [Broker.probeDeadline]],
  [
    "declaring: settling, and the calls around it",
    Broker.declareDeadline,
    [Broker.connectDeadline, Broker.settleDelay, Broker.callDeadline, Broker.callDeadline]
  ],
  // What the desk promises.
  [
    "3 s in which readers of the change feed learn that RabbitMQ hangs",
    Duration.seconds(3),
    [Broker.quietMax, Broker.probeDeadline]
  ],
  [
    "2 s in which a database that is back takes the first write",
    Duration.seconds(2),
    [Breaker.restNear.max, Database.connectDeadline]
  ],
  // Stopping.
  ["the end of an HTTP server: the longest command", Http.stopDeadline, [Commands.requestDeadline]],
  ["the end of an HTTP server: the longest query", Http.stopDeadline, [Queries.requestDeadline]],
  [
    "the stop of a process by its supervisor: the longest query, then its traces",
    Supervisor.stopDeadline,
    [Queries.requestDeadline, Telemetry.stopDeadline]
  ],
  [
    "a copy that leaves: its grace, its requests, its traces",
    Supervisor.leaveDeadline,
    [Http.drainGrace, Http.stopDeadline, Telemetry.stopDeadline]
  ],
  ["a copy that leaves: its sockets", Supervisor.leaveDeadline, [Realtime.drainSpreadMax, Realtime.drainCloseDeadline]],
  ["a process that ends itself by force: a stop by its supervisor", Process.killDelay, [Supervisor.leaveDeadline]],
  [
    "the 20 s of a stop: processes, then PostgreSQL, each with its ways to force it",
    Duration.seconds(20),
    [
      Supervisor.stopDeadline,
      Supervisor.killDeadline,
      EmbeddedDatabase.stopDeadline,
      EmbeddedDatabase.quitDeadline,
      EmbeddedDatabase.killDeadline
    ]
  ]
]

const sum = (durations: ReadonlyArray<Duration.Duration>) => durations.reduce(Duration.sum, Duration.zero)

it.each(rows)("%s", (_outside, limit, inside) => {
  expect(Duration.toMillis(sum(inside))).toBeLessThan(Duration.toMillis(limit))
})
