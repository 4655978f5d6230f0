// Every bound of the client, with unit and reason. The desk's own bounds stay with the desk: a page needs none of them.

/** Requests and their repetitions. */
export const Requests = {
  /** One attempt: a 64 KiB message over 256 kbit/s takes 2 s, the desk 2 s more at worst. */
  attemptDeadlineMs: 10_000,
  /** A command with all its repetitions, unless the caller says otherwise. */
  commandDeadlineMs: 30_000,
  /** A query with all its repetitions: somebody looks at an empty screen. */
  queryDeadlineMs: 15_000,
  backoffMinMs: 200,
  backoffMaxMs: 5_000,
  /** Repetitions that may be made at once after a quiet time. */
  retriesBurstMax: 10,
  /** Repetitions that each first attempt earns: in the long run a storm adds a fifth to the load, and no more. */
  retriesPerRequest: 0.2,
  /** And what time earns, so that a single caller is never stuck. */
  retriesPerSecond: 1,
  /** No advice of a server makes a caller wait longer. */
  retryAfterMsMax: 60_000,
  /** Longer answers are not the desk's: a full page has 100 messages of 64 KiB. UTF-16 code units. */
  answerLengthMax: 16 * 1024 * 1024
} as const

/** Subscriptions. */
export const Feeds = {
  /** From the connection to the acknowledgement: name, TCP, TLS, upgrade and verification are six round trips. */
  connectDeadlineMs: 10_000,
  /** How often a silent line is asked whether it lives, and how long it may think. Proxies cut what is silent for a minute. */
  pingIntervalMs: 10_000,
  pongDeadlineMs: 8_000,
  /** Sockets in a row that do not open, or are cut at once, after which subscriptions go by event streams. */
  socketsBrokenMax: 3,
  /** A proxy that lets a socket open and then ends it does so within this. */
  cutAtOnceMs: 5_000,
  /** For so long; then the next subscription tries a socket again, once. */
  streamsForMs: 300_000,
  /** The gateway says something on each stream every 15 s: two times, and a slow line. */
  streamSilenceMs: 40_000,
  backoffMinMs: 250,
  backoffMaxMs: 10_000,
  /** Tokens refused in a row before the feed ends. */
  tokensRefusedMax: 3,
  /** Items that wait for a slow reader; beyond it the subscription is let go and resumed once half is read. */
  itemsMax: 1_000
} as const

/** Uploads. */
export const Uploads = {
  chunkBytesMin: 64 * 1024,
  chunkBytesStart: 256 * 1024,
  chunkBytesMax: 8 * 1024 * 1024,
  /** A chunk should take about so long: progress is seen, and a cut costs little. */
  chunkTargetMs: 2_000,
  /** No byte moved for so long: the line hangs, and the upload is resumed over another connection. */
  stallDeadlineMs: 20_000,
  backoffMinMs: 250,
  backoffMaxMs: 15_000,
  /** Read at a time to tell content from content. */
  fingerprintBlockBytes: 1024 * 1024
} as const

/** The outbox. */
export const Outbox = {
  commandsMax: 1_000,
  bytesMax: 8 * 1024 * 1024,
  /** Tickets whose commands are under way at once; one while the desk does not answer. */
  streamsAtOnceMax: 4,
  backoffMinMs: 500,
  backoffMaxMs: 30_000,
  /** The desk knows a commandId for seven days; an hour is left for clocks that differ. */
  repeatableForMs: (7 * 24 - 1) * 3_600_000,
  /** The log is written anew once it holds so many bytes more than what is kept. */
  logWasteBytesMax: 1024 * 1024
} as const
