// Every bound of the desk in one place, with unit and reason. Names put the unit last but one: `requestBytesMax`. What an operator
// may change is read by the processes' configuration with these as defaults.
import { ByteSize, Duration } from "effect"

/** Command path. Deadlines nest: request > pool acquire + statement, so the inner one always answers first. */
export const Commands = {
  /** A person gives up soon after this. */
  requestDeadline: Duration.seconds(2),
  poolAcquireDeadline: Duration.millis(250),
  statementDeadline: Duration.seconds(1),
  lockDeadline: Duration.millis(500),
  /** Beyond this a queue would only grow: answer 503 at once. Requests. */
  underWayMax: 256,
  /** Commands folded into one statement: more gains little and makes the slowest wait. Commands. */
  batchMax: 32,
  /** A version race is decided again on fresh state this many times before it is refused. Attempts. */
  conflictRetriesMax: 3,
  /** Largest payload (a 64 KiB body in JSON escapes) with room to spare. */
  requestBytesMax: ByteSize.kibibytes(512),
  receiptLifetime: Duration.days(7),
  perPrincipalPerMinuteMax: 1200
} as const

/** PostgreSQL. */
export const Database = {
  /** Connections per process; the server has 100 and some ten processes share it. */
  poolConnectionsMax: 6,
  /** On top of those, held for long and outside the guard: a leader's lock and a LISTEN. Connections. */
  reservedConnectionsMax: 2,
  /** Shorter than a statement's deadline, so that a hung server which accepts connections is known to have done nothing. */
  connectDeadline: Duration.millis(750),
  /** Reads give up sooner than writes: there is a cache to fall back to. */
  readDeadline: Duration.millis(300),
  readConnectDeadline: Duration.millis(250),
  /** A transaction that says nothing for this long has lost its client; the server ends it and frees its locks. */
  idleInTransactionDeadline: Duration.seconds(10)
} as const

/** Breakers: about a 10 s window; open 1 s, doubling to 5 s. */
export const Breaker = {
  failureRatio: 0.5,
  windowCalls: 20,
  minimumCalls: 5,
  /** A hung server trips on this many timeouts in a row, before the ratio has enough calls. Calls. */
  consecutiveTimeouts: 3,
  openMin: Duration.seconds(1),
  openMax: Duration.seconds(5)
} as const

/** Relay: how much is positioned and published at a time, and how soon it looks again. */
export const Relay = {
  batchEventsMax: 500,
  idleDelay: Duration.millis(50),
  errorDelayMax: Duration.seconds(5)
} as const

/** Consumers. */
export const Consumer = {
  /** Deliveries held unacknowledged per group: bounds memory and what a crash makes the broker send again. Events. */
  prefetchEventsMax: 256,
  streamsAtOnceMax: 16,
  /** One event's reaction. */
  handleDeadline: Duration.seconds(10),
  /** Attempts before the event is parked with the later ones of its stream. */
  attemptsMax: 6,
  backoffMin: Duration.millis(100),
  backoffMax: Duration.seconds(10)
} as const
