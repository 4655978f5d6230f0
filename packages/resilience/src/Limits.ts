// Every bound of the desk in one place, with unit and reason. Names put the unit last but one: `requestBytesMax`. What an operator
// may change is read by the processes' configuration with these as defaults.
import { ByteSize, Duration } from "effect"

/** Command path. Deadlines nest: request > pool acquire + statement, so the inner one always answers first. */
export const Commands = {
  /** A person gives up soon after this. */
  requestDeadline: Duration.seconds(2),
  /** gRPC: calls of one connection. More than are admitted, for the client would hold the rest back in silence instead of being told. */
  grpcStreamsMax: 512,
  poolAcquireDeadline: Duration.millis(250),
  statementDeadline: Duration.seconds(1),
  lockDeadline: Duration.millis(500),
  /** Beyond this a queue would only grow: answer 503 at once. Requests. */
  underWayMax: 256,
  /** Commands folded into one statement: more gains little and makes the slowest wait. Commands. */
  batchMax: 32,
  /** Batches under way at once: while one waits for its disk flush the next is on its way. Statements. */
  batchesAtOnceMax: 2,
  /** Commands of a batch that fell apart: it must not take the whole pool. Statements. */
  singlesAtOnceMax: 3,
  /** What a refused caller is told to wait. At the bound: a few batches later there is room. */
  overloadedRetryAfter: Duration.millis(200),
  /** About as long as whoever holds the ticket, or its lock, has left. */
  contendedRetryAfter: Duration.millis(100),
  /** When nothing is known but that it took too long. */
  awayRetryAfter: Duration.seconds(1),
  /** A version race is decided again on fresh state this many times before it is refused. Attempts. */
  conflictRetriesMax: 3,
  /** Largest payload (a 64 KiB body in JSON escapes) with room to spare. */
  requestBytesMax: ByteSize.kibibytes(512),
  receiptLifetime: Duration.days(7),
  /** Removed by one statement once their time is over: a short lock each. Receipts. */
  receiptSweepMax: 1000,
  receiptSweepInterval: Duration.minutes(10),
  /** Commands of one person within the window below; twenty a second is no person. */
  perPrincipalPerMinuteMax: 1200,
  perPrincipalWindow: Duration.minutes(1),
  /** How soon the gRPC health service says what `/health/ready` says. */
  grpcHealthInterval: Duration.seconds(1)
} as const

/** PostgreSQL. */
export const Database = {
  /** Connections per process; the server has 100 and some ten processes share it. */
  poolConnectionsMax: 6,
  /** Work that nobody waits for queues for a connection: with the longest transaction still below `Consumer.handleDeadline`. */
  workAcquireDeadline: Duration.seconds(5),
  /** On top of those, held for long and outside the guard: a leader's lock and a LISTEN. Connections. */
  reservedConnectionsMax: 2,
  /** Shorter than a statement's deadline, so that a hung server which accepts connections is known to have done nothing. */
  connectDeadline: Duration.millis(750),
  /** Reads give up sooner than writes: there is a cache to fall back to. */
  readDeadline: Duration.millis(300),
  /** How long a server that took a connection and says nothing is waited for by whoever wants to know when it is back. */
  knockDeadline: Duration.seconds(15),
  readConnectDeadline: Duration.millis(250),
  /** A batch of view changes; the server ends each statement within `readDeadline`. */
  projectionDeadline: Duration.seconds(2),
  /** A transaction that says nothing for this long has lost its client; the server ends it and frees its locks. */
  idleInTransactionDeadline: Duration.seconds(10),
  /**
   * A connection whose other end vanished (a cut line, a machine that lost its power) says nothing by itself: both ends ask after this
   * silence, and what they sent and nobody confirmed for `unconfirmedMax` ends the connection. Else a dead client's locks and a dead
   * LISTEN would stay for the two hours that are the usual default.
   */
  keepAliveAfter: Duration.seconds(5),
  keepAliveInterval: Duration.seconds(3),
  keepAliveProbesMax: 3,
  unconfirmedMax: Duration.seconds(15)
} as const

/** Breakers and the probes that heal them: half of at least 5 calls, or 3 timeouts in a row, within 10 s. */
export const Breaker = {
  failureRatio: 0.5,
  /** Under load the last 20 calls tell within milliseconds what 10 s of calls would tell after seconds. Calls. */
  windowCalls: 20,
  minimumCalls: 5,
  /** Older calls are not held against a dependency; also how long one failure counts as degraded. */
  windowAge: Duration.seconds(10),
  /** A hung server trips on this many timeouts in a row, before the ratio has enough calls. Calls. */
  consecutiveTimeouts: 3,
  /** Servers of the desk's own. The rest before a probe doubles from `min` to `max`; half of it is chance. With the probe's own time the
   * longest rest stays below the 2 s within which a server that is back must take the first write. */
  restNear: { min: Duration.millis(250), max: Duration.millis(750) },
  /** What belongs to others, or is called rarely: no hurry, and politeness. */
  restFar: { min: Duration.seconds(1), max: Duration.seconds(5) },
  /** A probe is one small question; a server that takes longer for it would take no write in time either. */
  probeDeadline: Duration.seconds(1),
  /** A server of which nothing was heard for this long is asked, so that an idle process notices an outage, too. */
  quietMax: Duration.seconds(1)
} as const

/** Retries of what a living dependency failed: a storm of them must not double its load. */
export const RetryBudget = {
  /** Per call: the tenth that Google's clients allow themselves. Retries. */
  ratio: 0.1,
  /** So that a process with few calls may retry, too; no server notices them. Retries a second. */
  perSecond: 10,
  /** What may be saved up: ten seconds of the floor. Retries. */
  burst: 100
} as const

/** Relay: how much is positioned and published at a time, and how soon it looks again. */
export const Relay = {
  batchEventsMax: 500,
  idleDelay: Duration.millis(50),
  /** How soon positions are published that another leader gave. */
  lookDelay: Duration.seconds(1)
} as const

/** Going through all files that the core knows. */
export const FileCatalog = {
  /** Rows of one page, files or not: some milliseconds of the server. */
  pageRowsMax: 2000,
  /** How many times as long as it took one rests before it is all counted again, and at least; so counting takes some hundredths of a connection. */
  censusRestTimes: 30,
  censusRestMin: Duration.seconds(30),
  /** How often the journal is looked at. */
  journalLookInterval: Duration.seconds(5)
} as const

/** `holdfast files`. */
export const FileCommands = {
  /** References gathered in memory before they are written to where the comparison sorts them. References. */
  gatheredReferencesMax: 50_000,
  /** Parts of the stores compared at once: most of it is waiting for a listing. */
  partsAtOnceMax: 4,
  /** Files that were found lacking something and are asked about once more, in one question. */
  recheckedMax: 200,
  /** An entry of the journal that is older waits for something. */
  journalEntryLateAfter: Duration.minutes(10),
  /** Commands a second, below what one person may issue; everybody else comes first. */
  commandsPerSecondMax: 10,
  /** Tried again while the desk takes no more. */
  commandAttemptsMax: 20,
  /** How often it looks what became of files. */
  watchInterval: Duration.millis(500),
  progressInterval: Duration.seconds(2)
} as const

/** Consumers. */
export const Consumer = {
  /** Deliveries held unacknowledged per group: bounds memory and what a crash makes the broker send again. Events. */
  prefetchEventsMax: 256,
  /** Embedded broker: how far one event that waits may be left behind by events of other streams. Events. */
  aheadEventsMax: 4096,
  /** Embedded broker: how long acknowledgements are gathered before the cursor is written. */
  cursorDelay: Duration.millis(50),
  /** Under way at once: what arrives together is written together. Streams. */
  streamsAtOnceMax: 64,
  /** One event's reaction. */
  handleDeadline: Duration.seconds(10),
  /** Attempts before the event is parked with the later ones of its stream. */
  attemptsMax: 6,
  backoffMin: Duration.millis(100),
  backoffMax: Duration.seconds(10),
  /** Between attempts that our own guard refuses: they cost nobody anything, and views must be current soon after the database is back. */
  unsentBackoffMax: Duration.seconds(1)
} as const

/** Background work that ended and is started again. */
export const KeepRunning = {
  pauseMin: Duration.millis(100),
  /** Also how long work must last for its next pause to be short. */
  pauseMax: Duration.seconds(5)
} as const

/** Parked events. */
export const Parking = {
  /** One page of a list that a person reads. Events. */
  listMax: 500,
  /** Characters of a reason. */
  reasonLengthMax: 500,
  /** Longer than one event's reaction may take, so that two processes never replay the same one at once. */
  lease: Duration.seconds(30),
  /** How soon a consumer notices that an operator said replay. */
  replayDelay: Duration.seconds(1)
} as const

/** RabbitMQ. */
export const Broker = {
  /** A batch of the relay with its confirms; an idle broker takes some 50 ms. */
  callDeadline: Duration.seconds(5),
  connectDeadline: Duration.seconds(3),
  /** Declaring every exchange and queue for the first time on a slow disk; afterwards milliseconds. */
  declareDeadline: Duration.seconds(20),
  /** Before anything is published through new queues: RabbitMQ writes their names to disk within 1 s of the last one. */
  settleDelay: Duration.seconds(3),
  /** How soon a publisher notices that somebody deleted a queue. */
  lookDelay: Duration.seconds(5),
  /** Acknowledgements wait this long for others, to go to RabbitMQ as one. */
  ackDelay: Duration.millis(5),
  /** Events that are kept as read, since each comes once for each group. Events. */
  readKeptMax: 512,
  /** How late what a group has handled is written down: so much is handed out again when RabbitMQ loses its queues. */
  handledDelay: Duration.seconds(5),
  /** Older events are not published again when RabbitMQ loses its queues: the receipts that make repeating harmless live 7 days. */
  refillAgeMax: Duration.days(6),
  reconnectMin: Duration.millis(200),
  reconnectMax: Duration.seconds(1),
  /** A channel or connection that does not close in time is left to the server. */
  closeDeadline: Duration.seconds(2),
  /** Either end gives the connection up after two of these without a sign of life. A shorter one would end those of busy processes. Seconds. */
  heartbeatSeconds: 5,
  /** A server of which nothing was heard for this long is asked, and whoever waits for deliveries is told when it does not answer: together
   * below the 3 s within which readers of the change feed learn that it stands still. */
  quietMax: Duration.millis(500),
  probeDeadline: Duration.seconds(2),
  /** Calls at once: the relay's batch, acknowledgements and set-up of consumers. */
  callsUnderWayMax: 16,
  acquireDeadline: Duration.seconds(1),
  /** Queues per group: so many processes of a group can share its work. Fixed: another number moves streams between queues. */
  partitions: 4,
  /** Events of the change feed held unacknowledged: bounds a gateway's memory. Events. */
  changesPrefetchMax: 500,
  /** A stream queue hands out whole chunks and so more than the prefetch, by up to one chunk. Events. */
  changesChunkMax: 8192,
  /** A queue of the change feed that says nothing for so long when it is asked for its last event has none. */
  changesEmptyDelay: Duration.seconds(2),
  /** How far back the change feed goes; gateways keep 15 minutes of it in memory. */
  changesAgeMax: Duration.hours(4),
  /** How much of it whoever asks for the whole window is given: a gateway keeps no more. Events. */
  changesWindowEventsMax: 50_000,
  changesBytesMax: ByteSize.gibibytes(2),
  changesSegmentBytes: ByteSize.mebibytes(64),
  /** From RabbitMQ 4 on a quorum queue drops a message after 20 deliveries unless told otherwise; parking is ours to decide. */
  deliveriesMax: 1_000_000
} as const

/** Outgoing webhooks. */
export const Webhooks = {
  endpointsMax: 50,
  /** One request, from the look-up of the name to the end of the answer. */
  requestDeadline: Duration.seconds(10),
  connectDeadline: Duration.seconds(5),
  /** Deliveries to one endpoint at once. */
  underWayMax: 4,
  acquireDeadline: Duration.seconds(30),
  /** Taken from an endpoint's queue at a time. Events. */
  batchMax: 16,
  /** Longer than a batch can take. */
  claim: Duration.minutes(5),
  /** How soon a new event is noticed. */
  idleDelay: Duration.millis(500),
  retryMin: Duration.seconds(5),
  retryMax: Duration.hours(4),
  /** After this an event is given up for this endpoint. */
  retryFor: Duration.days(3),
  /** Only the status counts; reading a little more lets the connection end well. Bytes. */
  answerBytesMax: ByteSize.kibibytes(16),
  /** Characters of an error kept in the delivery log. */
  errorLengthMax: 500
} as const

/** What reactions remember of events that they are done with. */
export const Sweep = {
  /** Longer than any redelivery: retries of webhooks end after days, and a queue holds no event for weeks. */
  keepFor: Duration.days(30),
  interval: Duration.minutes(10),
  /** Removed at a time. Rows. */
  rowsMax: 1000
} as const

/** Reading the event log. */
export const EventLog = {
  readEventsMax: 1000,
  /** One ticket's whole history. Events. */
  streamEventsMax: 10_000,
  /** Readers look by themselves this often: a notification may be missed. */
  wakeupInterval: Duration.seconds(1),
  /** Until then readers look by themselves. Each try at a hung server leaves a connection in its queue. */
  listenRetryDelay: Duration.seconds(3)
} as const

/** Leaders: who runs the relay, and each group of the embedded broker. */
export const Leader = {
  /** How soon another process takes over once the role is free. */
  retryDelay: Duration.millis(500),
  /** How often the holder proves that its session lives, and how long the proof may take. */
  checkInterval: Duration.seconds(1),
  checkDeadline: Duration.seconds(2),
  /**
   * The server ends a leader's session that says nothing for this long, so that the role is free although its holder is hung or cut
   * off. Longer than a check may take.
   */
  sessionSilenceMax: Duration.seconds(4)
} as const

/** The embedded PostgreSQL that `holdfast up` starts. */
export const EmbeddedDatabase = {
  /** Two pools of 6 in each of up to 24 copies, the relay's and the consumers' own, and room for an operator. Connections. */
  connectionsMax: 400,
  /** Making a new cluster takes about a second; a slow disk some twenty. */
  createDeadline: Duration.seconds(90),
  /** Crash recovery after a busy minute takes seconds. */
  readyDeadline: Duration.seconds(60),
  /** One question to the server whether it is there. */
  answerDeadline: Duration.seconds(1),
  /** The supervisor has 20 s for everything, so these three together stay under half of that. */
  stopDeadline: Duration.seconds(5),
  quitDeadline: Duration.seconds(2),
  killDeadline: Duration.seconds(2),
  /** What initdb and the single-user server may say before it is cut. Bytes. */
  outputBytesMax: ByteSize.mebibytes(1)
} as const

/** Disks. Each operation on its own; a disk that hangs is unavailable, not waited for. */
export const Storage = {
  operationDeadline: Duration.seconds(10),
  /** A whole write of the largest upload to a slow disk. */
  writeDeadline: Duration.minutes(2),
  /** One batch or flush of an upload; shorter than `Files.idleDeadline`, so that its sender still gets an answer. */
  flushDeadline: Duration.seconds(45),
  operationsAtOnceMax: 64,
  acquireDeadline: Duration.seconds(2),
  /** A disk that refused is asked again no sooner. */
  retryDelay: Duration.seconds(5),
  /** One read from disk: few calls, and little memory for each reader. */
  readChunkBytes: ByteSize.kibibytes(256),
  /** Always left free, so that a flood of uploads cannot fill the disk that journal and logs need. */
  freeBytesMin: ByteSize.gibibytes(1),
  /** Quarantined content is kept this long after it last arrived, for a scan that waits and for a later rescan. */
  quarantineLifetime: Duration.days(7),
  /** What an interrupted write left behind is certainly abandoned after this. */
  leftoverLifetime: Duration.hours(24),
  /** Released content that no file needs is kept this long after it was last put: time to notice that the log was restored from a backup. */
  unneededLifetime: Duration.days(7),
  /** From the mark that announces a removal to the removal itself; a sweep that takes longer gives up and comes back. */
  removalDeadline: Duration.minutes(1),
  /** A mark this old belongs to a sweep that died; far beyond the deadline, so that its removal cannot still be under way. */
  markLifetime: Duration.hours(1),
  /** Old contents that one run asks the log about, in one question; the others wait for the next. */
  sweptContentsMax: 10_000,
  /** Contents of a folder looked at in one call. */
  listedPageMax: 500,
  /** Contents marked, asked for again and removed together. */
  removalBatchMax: 100,
  /** Contents found damaged that are remembered, so that no part of them is given either. */
  damagedMax: 1000
} as const

/** Object storage. Each request on its own; content is sent and received in pieces. */
export const ObjectStorage = {
  operationDeadline: Duration.seconds(10),
  /** One part of a write, and what completes it, over a slow line. */
  partDeadline: Duration.minutes(1),
  /** No byte of an answer for so long: the server is gone. */
  readDeadline: Duration.seconds(15),
  operationsAtOnceMax: 64,
  acquireDeadline: Duration.seconds(2),
  retryDelay: Duration.seconds(5),
  /** Held in memory per write. S3 takes no less than 5 MiB and no more than 10 000 of them: room for 80 GiB. */
  partBytes: ByteSize.mebibytes(8),
  /** S3's own bound. Objects. */
  listPageMax: 1000,
  /** An answer that is not content: a full page of a listing has half of it. */
  answerBytesMax: ByteSize.mebibytes(1)
} as const

/** Looking at released files again: nobody waits for it, and it must cost nobody anything. */
export const Rescans = {
  /** Unless an operator says otherwise: what was released longer ago was downloaded long ago. Days. */
  daysDefault: 14,
  /** A request by a person is noticed after so long. */
  idleDelay: Duration.seconds(2),
  /** Between two files, and at least as long as the last one took: never more than half of one processor's time. */
  restMin: Duration.millis(100),
  /** How often the scanner is asked for its signatures; ClamAV publishes new ones some times a day. */
  signaturesInterval: Duration.minutes(1),
  /** With the same signatures the released files are gone through again: some were scanned before and released after. */
  againInterval: Duration.hours(1),
  /** Asked for at a time by whoever watches the signatures, so that requests of people come soon. Files. */
  underWayMax: 16,
  /** How often it is looked whether those are done. */
  doneInterval: Duration.seconds(1),
  /** Read from the log at a time. Events. */
  pageMax: 200,
  /** Files whose running out of time is remembered. */
  timeoutsMax: 1000
} as const

/** Malware scanner. */
export const Scanner = {
  /** Greeting, version and the start of an answer. */
  baseDeadline: Duration.seconds(10),
  /** On top of it; clamd scans some 90 MiB a second here, ten times slower is broken. */
  perMebibyteDeadline: Duration.millis(100),
  toolDeadline: Duration.seconds(2),
  /** Each question is a connection of its own, and files wait anyway: less often than the others are asked. */
  quietMax: Duration.seconds(2),
  /** clamd's own default is 12 threads; leave it room. */
  scansAtOnceMax: 4,
  acquireDeadline: Duration.seconds(5),
  /** Pieces of a content that are read while clamd takes those before. Each has `Storage.readChunkBytes`. */
  chunksAheadMax: 2,
  /** Among many small files it need not be asked for each. */
  versionLifetime: Duration.seconds(1),
  /** How soon it is noticed that a clamd was started anew with other settings. */
  settingsLifetime: Duration.minutes(10),
  /** What the policy scanner looks at of the end of a file. */
  tailBytes: ByteSize.kibibytes(64)
} as const

/** Converter child processes. */
export const Converter = {
  /** Of the clock: three times what its processor time may be, so that only a busy machine meets it. Then the machine is to blame, and it is tried again. */
  deadline: Duration.seconds(60),
  /** On top of it, for ending a child that does not go. */
  killDeadline: Duration.seconds(5),
  /** Processor time: what needs more is refused, here as anywhere. A photograph takes about one. Seconds. */
  cpuSecondsMax: 20,
  heapBytesMax: ByteSize.mebibytes(256),
  /** All private memory of the child: a decoded image at the pixel limit and its copy. */
  dataBytesMax: ByteSize.gibibytes(1),
  outputBytesMax: ByteSize.mebibytes(128),
  /** Over all frames of an animation. Larger pictures than any camera makes. */
  pixelsMax: 100_000_000,
  framesMax: 300,
  thumbnailPixels: 256,
  /** The longer side of a document's first page: enough to recognise it, too little to read on. */
  previewPixels: 1024,
  /** An office program takes seconds to start; together these stay below a long scan. */
  officeDeadline: Duration.seconds(45),
  officeCpuSecondsMax: 40,
  /** An office program with a large document. */
  officeDataBytesMax: ByteSize.gibibytes(2),
  /** Asking a program for its version. */
  versionDeadline: Duration.seconds(20),
  atOnceMax: 2,
  acquireDeadline: Duration.seconds(5)
} as const

/** Programs that are run on hostile files. */
export const Sandbox = {
  /** What such a program may say before it is ended. Characters. */
  outputLengthMax: 16_384,
  /** Before a program is tried again that could not be started. */
  retryDelay: Duration.seconds(1)
} as const

/** What is inside a file may expand to so much, beyond which it is refused; and what the child process that looks may use. */
export const Inspection = {
  /** Four times the largest upload: what people pack for a support desk stays far below. All levels together. */
  expandedBytesMax: ByteSize.gibibytes(2),
  /** Deflate reaches 1032; logs and tables reach some 50. Expanded bytes for each uploaded byte. */
  ratioMax: 200,
  /** Below this nobody cares how well something is packed. */
  ratioFromBytes: ByteSize.mebibytes(64),
  /** All levels together; a packed source tree has some thousands. Entries. */
  entriesMax: 20_000,
  /** An archive in an archive in an e-mail in an archive is still seen in practice. Levels. */
  depthMax: 6,
  /** What must be held in memory to be understood (a PDF, an e-mail, XML with entities, an archive's directory). */
  documentBytesMax: ByteSize.mebibytes(128),
  /** What XML entities may expand to: no document needs them for more than a few names. */
  entityBytesMax: ByteSize.mebibytes(1),
  /** What tells whether there is anything inside: enough for text that declares entities, and a ZIP's end with the longest comment. */
  headBytes: ByteSize.kibibytes(64),
  tailBytes: ByteSize.kibibytes(66),
  /** Of the clock: four times what its processor time may be, so that only a busy machine meets it. Then the machine is to blame, and it is tried again. */
  deadline: Duration.seconds(120),
  /** On top of it, for ending a child that does not go. */
  killDeadline: Duration.seconds(5),
  /** Processor time: what needs more is refused, here as anywhere. 2 GiB take some 10. Seconds. */
  cpuSecondsMax: 30,
  heapBytesMax: ByteSize.mebibytes(256),
  dataBytesMax: ByteSize.gibibytes(1),
  /** A nested archive lies on disk while it is looked into. */
  fileBytesMax: ByteSize.gibibytes(1),
  atOnceMax: 2,
  acquireDeadline: Duration.seconds(5)
} as const

/** Uploads and downloads. */
export const Files = {
  uploadBytesMax: ByteSize.mebibytes(512),
  /** Started and not finished, per principal. */
  openUploadsPerPrincipalMax: 32,
  /** Started and not finished, in all: each costs a file, and memory for its running hash. */
  openUploadsMax: 4096,
  uploadLifetime: Duration.hours(24),
  /** What one principal may store within the window: far more than a person sends, far less than a disk. */
  uploadQuotaPerPrincipalBytes: ByteSize.gibibytes(20),
  /** The same for all together: with the quarantine's seven days, some 3 TB at the very most. */
  uploadQuotaTotalBytes: ByteSize.gibibytes(200),
  /** A day that ends now, not one that begins at midnight: nobody stores twice as much around it. No longer than `uploadLifetime`, for so long every upload is described. */
  quotaWindow: Duration.hours(24),
  /** Another gateway holds the ledger for less than a millisecond at a time. */
  quotaDeadline: Duration.seconds(10),
  quotaRetryDelay: Duration.millis(5),
  /** Charges that one change of the ledger removes or looks through: some milliseconds. Charges. */
  quotaBatchMax: 1000,
  /** Charges looked at to say when there is room again. Charges. */
  quotaLookedAtMax: 10_000,
  /** From the charge to the upload's description on the disk: certainly less. */
  quotaBeginDelay: Duration.minutes(10),
  metadataBytesMax: ByteSize.kibibytes(4),
  /** Beyond this a transfer is refused at once. Transfers. */
  transfersMax: 512,
  transfersPerPrincipalMax: 16,
  /** The server's own bound: room besides for those that are refused, and for health checks. */
  socketsMax: 1024,
  /** Beyond what people's lines carry, below what would starve the desk on the same machine. Bytes a second. */
  bytesPerSecondMax: ByteSize.mebibytes(400),
  bytesPerSecondPerPrincipalMax: ByteSize.mebibytes(200),
  /** Of a line whose speed is told, in each direction; the rest is for commands and queries, which are small and in a hurry. Transfers. */
  lineShareMax: 0.85,
  /** Downloads have a budget of their own, so that neither direction waits for the other. Downloads. */
  downloadsMax: 512,
  downloadsPerPrincipalMax: 16,
  /** Bytes a second. */
  downloadBytesPerSecondMax: ByteSize.mebibytes(400),
  downloadBytesPerSecondPerPrincipalMax: ByteSize.mebibytes(200),
  /** More in one request than any viewer asks for; each costs a read and a header. Ranges. */
  downloadRangesMax: 16,
  /** Gathered in memory before it is written, twice per upload at most: few system calls. */
  writeBatchBytes: ByteSize.kibibytes(512),
  /** Pieces of an upload that are a sixteenth of this or less are copied together into so much: each piece by itself costs memory. */
  gatheredBytes: ByteSize.kibibytes(64),
  /** No byte for so long on a connection: the client is gone. */
  idleDeadline: Duration.seconds(60),
  /** A request waits this long for another one of the same upload, which it asks to let go; how often it tries, and the other looks. */
  lockDeadline: Duration.seconds(30),
  lockRetryDelay: Duration.millis(50),
  lockLookInterval: Duration.millis(200),
  /** Who holds an upload and is asked to let go has this long to end by itself: most requests are short. */
  lockGraceDelay: Duration.seconds(1),
  journalDelay: Duration.millis(200),
  journalErrorDelayMax: Duration.seconds(5),
  journalBatchMax: 100,
  sweepInterval: Duration.minutes(10)
} as const

/** The stages of the file pipeline. */
export const Pipeline = {
  /** What is read to identify a file: the directory of an office document lies within it. */
  headBytes: ByteSize.mebibytes(1),
  /** Small files do not wait behind large ones. */
  smallBytesMax: ByteSize.mebibytes(8),
  /** Small files that are identified, scanned or released at once, for each core: with two, a backlog took a third longer, and no processor was busy. */
  smallPerCoreMax: 8,
  /** A consumer's turn is shorter than a long scan: the stage goes on, and the next turn joins it. Below `Consumer.handleDeadline`. */
  turnDeadline: Duration.seconds(8),
  stageAttemptsMax: 3,
  stageBackoff: Duration.millis(200),
  /** Timeouts on one file while the tool answers others: it is the file. */
  stageTimeoutsMax: 3,
  /** How often the journal is looked at for files that the core does not take now; after the second look their stages begin. */
  aheadDelay: Duration.seconds(1),
  /** Files of which is kept what was found before the core heard of them: an hour of an outage at a file a second. Some 2 KiB each. Files. */
  aheadMax: 4_000,
  /** Files whose end is remembered while their own events are still on their way. Files. */
  finishedMax: 10_000
} as const

/** Cached read models. */
export const Cache = {
  /**
   * A local server or file answers in a few ms, but it is asked where nobody else can answer: a machine that is busy for a moment must not
   * cost a reader the page.
   */
  readDeadline: Duration.seconds(1),
  writeDeadline: Duration.seconds(1),
  connectDeadline: Duration.millis(500),
  /** An answer that is due and does not come for this long ends the connection, and a new one is tried. */
  silenceMax: Duration.seconds(2),
  /** Between attempts to reach the server again. */
  reconnectDelayMax: Duration.seconds(1),
  callsUnderWayMax: 64,
  acquireDeadline: Duration.millis(100),
  /** Documents of one kind (tickets, files, people); the ones that changed longest ago make room. Documents. */
  documentsPerKindMax: 50_000,
  /** Documents asked for, or put, at once. */
  batchMax: 500,
  /** What the longest list on a screen may scroll to. Entries. */
  listMax: 500,
  /** Newest documents remembered per word, and distinct words remembered per document and audience. */
  documentsPerWordMax: 2_000,
  wordsPerDocumentMax: 400,
  /** A longer conversation keeps its newest part. UTF-16 code units of JSON. */
  documentLengthMax: 262_144,
  /** Positions applied out of order that wait for the ones before them. */
  aheadMax: 100_000,
  /** Another process holds the file's write lock: wait at most this long, it blocks this process. */
  fileLockDeadline: Duration.millis(250)
} as const

/** Views: what the consumers that write them hold to. */
export const Views = {
  /** Events folded into one transaction. */
  batchMax: 64,
  /** How often a view that has applied everything says that it is current. */
  currentEvery: Duration.seconds(5),
  /** A position that nobody applied for this long, while nothing before it is missing, belongs to a parked event: pass it. */
  gapDeadline: Duration.seconds(60),
  /** How often hourly volume is copied into the cache. */
  volumeEvery: Duration.minutes(1),
  /** A cache that is found empty again and again is filled no more often than this. */
  refillDelayMax: Duration.minutes(5),
  /** Of the events applied beyond a gap, looked at per batch: a backlog closes its gap in few batches, and none pays for all. Events. */
  aheadReadMax: 1024,
  /** An empty cache is filled with every ticket that is not solved or closed, and with those that are and changed so lately. */
  hotFor: Duration.days(90)
} as const

/** GraphQL. */
export const Queries = {
  /** The whole answer. */
  requestDeadline: Duration.seconds(5),
  /** Beyond this a queue would only grow: answer 503 at once. Requests. */
  underWayMax: 512,
  /** What a refused reader is told to wait, where nothing better is known: a page reload. */
  retryAfter: Duration.seconds(1),
  requestBytesMax: 65_536,
  documentLengthMax: 16_384,
  documentTokensMax: 2_000,
  /** Nested selections, spreads of fragments included; the introspection query of common tools needs 18. */
  depthMax: 20,
  /** Selections after fragments are spread: bounds the work of validation too. */
  selectionsMax: 500,
  aliasesMax: 30,
  /** Objects that an answer may hold, pages taken as full. */
  costMax: 5_000,
  pageDefault: 20,
  pageMax: 100,
  searchResultsMax: 200,
  searchWordsMax: 8,
  volumeHoursMax: 24 * 31,
  /** Parsed and validated documents kept, and documents registered by their hash. */
  documentsKeptMax: 1_000,
  /** Plans kept per document, one for each set of variables; and how long the variables of a kept plan may be. */
  plansKeptMax: 16,
  planKeyLengthMax: 1_024,
  /** How long `atLeastVersion` waits, and how often it looks. */
  versionWait: Duration.seconds(2),
  versionPoll: Duration.millis(50),
  /** Requests that may wait so at once. */
  versionWaitersMax: 200,
  downloadLinkLifetime: Duration.minutes(10),
  /** The status page: how often the processes are asked, how long each may take, and how many there may be. */
  statusEvery: Duration.seconds(2),
  statusDeadline: Duration.seconds(1),
  statusTargetsMax: 64
} as const

/** The realtime gateway. */
export const Realtime = {
  /** How far back a client may resume. Whichever of the three is reached first. */
  windowEventsMax: Broker.changesWindowEventsMax,
  windowAgeMax: Duration.minutes(15),
  /** Estimated memory of the window; long messages would otherwise make 50 000 events several gigabytes. */
  windowBytesMax: ByteSize.mebibytes(256),
  /** Sockets of one process: some 60 KiB each with its buffers. */
  connectionsMax: 20_000,
  /** The server's own bound: room besides for those that are refused, and for health checks. */
  socketsMax: 20_512,
  /** One person's browser tabs and devices; a service's workers. */
  connectionsPerPrincipalMax: 64,
  /** Subscriptions and queries under way on one socket. */
  operationsPerSocketMax: 100,
  /** Queries under way on one socket: they cost a database round trip each. */
  queriesPerSocketMax: 8,
  queryDeadline: Duration.seconds(5),
  /** A query with its variables; the largest legitimate one is far smaller. */
  messageBytesMax: ByteSize.kibibytes(64),
  /** Mean and burst of messages from one client: it subscribes and answers pings, no more. */
  messagesPerSecondMax: 50,
  messagesBurstMax: 200,
  /** Lexical tokens and fields of a subscription document: parsing is bounded, and so is how often a field is repeated. */
  documentTokensMax: 1000,
  subscriptionFieldsMax: 64,
  /** Parsed documents kept; clients use few different ones. */
  documentsCachedMax: 500,
  /** Unsent bytes of one socket; beyond it the client is too slow for live events and resumes from its cursor. */
  bufferedBytesMax: ByteSize.mebibytes(1),
  /** Of all sockets together: a line that many clients share may go slow for all of them. Beyond it the fullest are cut. */
  bufferedBytesTotalMax: ByteSize.mebibytes(512),
  /** Catching up stops sending above this many unsent bytes of the socket, so it never fills the buffer by itself. */
  catchUpBufferedBytesMax: ByteSize.kibibytes(64),
  /** Events looked at for one subscription before another has its turn. */
  catchUpEventsMax: 500,
  catchUpPoll: Duration.millis(10),
  /** Sends, and events looked at for one subscription, before the sockets have their turn: some 30 ms. One event goes to all at once. */
  turnWorkMax: 2000,
  /** And bytes of live events: a fraction of what may wait for a socket, or a backlog of long messages would end them all as slow. */
  turnBytesMax: ByteSize.kibibytes(256),
  /** A catching-up client that takes nothing for so long is gone. */
  catchUpDeadline: Duration.seconds(20),
  /** Encoded events kept for clients that catch up on the same subscription. */
  encodedBytesMax: ByteSize.mebibytes(16),
  initDeadline: Duration.seconds(3),
  verifyDeadline: Duration.seconds(2),
  /** Also tells the client how far the feed is. Proxies commonly cut what is silent for a minute. */
  pingInterval: Duration.seconds(15),
  /** Nothing heard for two pings and a slow line. */
  silenceMax: Duration.seconds(40),
  sweepInterval: Duration.seconds(1),
  reconnectDelayMin: Duration.millis(100),
  /** The breaker in front of the broker makes an attempt cheap. */
  reconnectDelayMax: Duration.seconds(2),
  /** Closing many sockets at once sends every client to the other copies in one moment. */
  drainSpreadMax: Duration.seconds(5),
  drainCloseDeadline: Duration.seconds(3),
  /** Clients are advised to come back at a random time up to this. */
  reconnectAdviceMax: Duration.seconds(5),
  /** A browser whose event stream was cut without advice comes back between this and `reconnectAdviceMax`. */
  streamRetryMin: Duration.seconds(1),
  /** What the client of an event stream has not taken so long after its end is given up, as a socket's is. */
  streamEndDeadline: Duration.seconds(30)
} as const

/** Who is on a ticket and who writes. Nothing of it lasts: each bound may lose somebody from a list, never an event. */
export const Presence = {
  /** Somebody who views is said again so often, and forgotten after missing twice. */
  announceInterval: Duration.seconds(10),
  viewingLasts: Duration.seconds(30),
  /** A pause of thought between two words is shorter. */
  writingLasts: Duration.seconds(6),
  /** Changes of a ticket are told together so often: quicker than somebody notices, and a thousand who come at once are few messages. */
  flushInterval: Duration.millis(200),
  /** How often it is looked who is to be said again and who is forgotten. */
  roundInterval: Duration.seconds(1),
  /** Tickets on which somebody is, over all gateways, and people on tickets at one gateway: some 300 bytes each. */
  ticketsMax: 20_000,
  /** People remembered of one ticket, at all gateways; more are not shown. */
  peoplePerTicketMax: 200,
  /** People in one list. */
  peopleShownMax: 50,
  /** Mean and burst of `typing` on one connection: a client says it every few seconds and when it ends. */
  typingPerSecondMax: 2,
  typingBurstMax: 10,
  /** Text of one signal among the gateways; PostgreSQL's NOTIFY takes less than 8000 bytes. */
  signalBytesMax: ByteSize.bytes(7_500),
  /** People that one gateway tells the others of in one flush, some 40 to a signal; what is more waits for the next. */
  sightingsPerFlushMax: 500,
  /** Signals that wait for the broker, or to be taken from it; the oldest are dropped. */
  signalsWaitingMax: 1_000,
  /** A signal that the broker did not take by then is dropped. */
  publishDeadline: Duration.seconds(1),
  /** The broker keeps none longer: it would tell of who is gone. */
  signalAgeMax: Duration.seconds(6),
  /** To listen again after the line to the broker was lost. */
  listenRetryDelay: Duration.seconds(1),
  /** Whose ticket it is, when a customer asks. */
  ownerDeadline: Duration.seconds(3)
} as const

/** What people are told of by name. */
export const Notifications = {
  /** The newest of one person; who has more unread reads the tickets. */
  keptMax: 500,
  keptFor: Duration.days(90),
  /** Old ones removed in one statement. */
  sweepMax: 1_000
} as const

/** `holdfast up`. Everything that stopping needs adds up to less than the 20 s that a person waits after Ctrl-C. */
export const Supervisor = {
  /** A process that has not answered by then is started again. */
  startDeadline: Duration.seconds(90),
  /** Ends before its first answer after which the start is given up: it will not get better by itself. Attempts. */
  startAttemptsMax: 3,
  pollInterval: Duration.seconds(2),
  pollDeadline: Duration.seconds(2),
  /** Unanswered polls in a row after which a process counts as hung, 10 to 20 s; an overloaded machine is slow, not hung. Polls. */
  pollMissesMax: 5,
  backoffMin: Duration.millis(250),
  backoffMax: Duration.seconds(15),
  /** Having run this long, a process starts again without a wait. */
  backoffForgets: Duration.seconds(60),
  /** Copies of each process: each has its own pools of database connections. Copies. */
  copiesMax: 4,
  /** A successor that is not ready by then is none: the former stays. */
  replaceDeadline: Duration.seconds(60),
  /** A copy that leaves while others go on finishes what it has: a grace for idle clients, then requests, then sockets. */
  leaveDeadline: Duration.seconds(20),
  /** The desk's processes stop together; PostgreSQL follows with its own 9 s. */
  stopDeadline: Duration.seconds(8),
  killDeadline: Duration.seconds(2),
  /** A log is set aside at this size, and one such older log is kept. */
  logBytesMax: ByteSize.mebibytes(10),
  logCheckInterval: Duration.seconds(20),
  /** Less than this and PostgreSQL would soon stop for want of space. */
  diskFreeMin: ByteSize.mebibytes(256),
  controlRequestBytesMax: ByteSize.kibibytes(4),
  /** One request of the sample data or of a drill: longer than the desk's own deadline, so that it is the desk that answers. */
  requestDeadline: Duration.seconds(5)
} as const

/** `holdfast drill`: how it breaks the desk, and what it holds the desk to. */
export const Drill = {
  /** The desk is made for outages of ten minutes. */
  lengthMax: Duration.minutes(10),
  /** A fault heals by itself so much later than its drill would have healed it. */
  outageMax: Duration.seconds(630),
  outageMargin: Duration.seconds(10),
  /** What slow means, and flapping; how soon a process that is back is struck again. */
  slowDelay: Duration.seconds(2),
  flapInterval: Duration.seconds(3),
  strikeInterval: Duration.seconds(6),
  /** Before the outage, to see that all is well. */
  baseline: Duration.seconds(15),
  baselineQuick: Duration.seconds(6),
  /** Of each fault when all are drilled, and of the long outage at the end. */
  shortLength: Duration.seconds(30),
  quickLength: Duration.seconds(8),
  /** Requests a second that one process of clients can make without being what is measured, and its subscribers. */
  loadMax: 2000,
  feeds: 7,
  /** The first moments of a fault, in which it is discovered. */
  onset: Duration.seconds(3),
  /** Longest wait of a write while the fault is discovered: a command's own deadline and the way there. */
  firstRefusalMax: Duration.millis(2_200),
  /** A refusal once the breaker is open, as a person in a branch feels it. */
  refusalP99Max: Duration.millis(50),
  /** Reads during an outage against reads before. Times. */
  readSlowerMax: 2,
  /** From the moment at which the dependency accepts again to the first write that is accepted. */
  recoveryMax: Duration.seconds(2),
  /** From the same moment until the views have everything that was written before it, subscribers too, and files that waited are scanned. */
  catchUpMax: Duration.seconds(60),
  /** Watched after the end of the fault: at least, and at most while something is still missing. */
  recoveryMin: Duration.seconds(10),
  recoveryWatch: Duration.seconds(90),
  /** What was caused before the end is waited for so long: after ten minutes a file worker has hundreds of files to scan. */
  arriveMax: Duration.minutes(10),
  /** How long outcomes that nobody knows are asked for at the end. */
  settleDeadline: Duration.seconds(60),
  /** A dependency that does not come back. */
  acceptDeadline: Duration.seconds(60),
  /** Growth of a process from one half of the outage to the other that still counts as flat: the larger of the two. Memory is judged in drills of this length. */
  memoryGrowthBytesMax: ByteSize.mebibytes(32),
  memoryGrowthShareMax: 0.125,
  memoryJudgedFrom: Duration.minutes(5),
  /** Samples of a process kept; beyond it every second one goes. */
  memorySamplesMax: 600,
  memoryInterval: Duration.seconds(1)
} as const

/** The synthetic load of a drill: what its clients are patient with, and what it remembers. */
export const DrillLoad = {
  /** One attempt each: longer than the desk's own deadline, so that it is the desk that answers. */
  commandDeadline: Duration.seconds(5),
  queryDeadline: Duration.seconds(8),
  fileDeadline: Duration.seconds(15),
  /** Requests of one path under way; what would be sent beyond it counts as failed, so a hung path is seen and not waited for. */
  underWayMin: 32,
  underWayMax: 1024,
  /** How many of a path's requests may be under way, as time at its rate. */
  underWayFor: Duration.seconds(6),
  /** Commands with an unknown outcome repeated at once, and how soon after the last attempt. */
  repeatsAtOnceMax: 32,
  repeatDelay: Duration.millis(500),
  /** Above this the load sends no more commands: a client that knows so little should stop. Commands. */
  unresolvedMax: 100_000,
  /** Tickets that commands and queries choose from; older ones make room, so that no conversation grows long. Tickets. */
  hotTicketsMax: 200,
  /** The cache follows the views by a moment; a ticket belongs to the hot window once both have it. */
  hotAfter: Duration.seconds(5),
  /** A subscribed ticket gets no more than this. Commands. */
  pinnedCommandsMax: 2000,
  /** Uploads whose release is waited for at once; and new tickets, of which these are a sample. */
  watchedMax: 2000,
  ticketsWatchedMax: 64,
  watchInterval: Duration.millis(100),
  watchPauseMin: Duration.millis(50),
  watchPauseMax: Duration.seconds(2),
  /** So many of those that wait longest, and as many of the newest: to ask for all that an outage held up would be most of the load. */
  watchedEachEnd: 16,
  watchesAtOnceMax: 8,
  /** A reaction is looked for this long before it counts as lost. */
  watchFor: Duration.minutes(15),
  /** Released files that downloads choose from, and the age at which a link is renewed; it lives for 10 minutes. */
  downloadsKeptMax: 100,
  linkRenewal: Duration.minutes(5),
  /** Subscribers come back after a random time up to this. */
  resubscribeMax: Duration.seconds(1),
  /** The gateway pings every 15 s: a subscriber that hears nothing for so long comes back. */
  feedSilenceMax: Duration.seconds(20),
  /** How often each subscriber is asked whether it has a live feed. */
  feedSampleInterval: Duration.millis(500),
  /** Per agent: below the desk's own limit per principal. Commands a second. */
  commandsPerAgentMax: 10,
  /** The ledger is written when so much has gathered, or so much time has passed. Characters. */
  ledgerChunkLength: 65_536,
  ledgerDelay: Duration.millis(200),
  /** Rows read from the ledger or the database at a time while comparing. */
  auditBatchMax: 10_000,
  /** Examples named in a finding. */
  auditExamplesMax: 10
} as const

/** HTTP servers of every process. */
export const Http = {
  /** All headers of a request. Bytes. */
  headerBytesMax: 16 * 1024,
  /** A client that sends its headers slower than this is holding a connection for nothing. */
  headersDeadline: Duration.seconds(10),
  /** A whole request but for uploads, over a line as slow as a branch may have. */
  receiveDeadline: Duration.seconds(60),
  /** Longer than a proxy keeps idle connections, so that it never sends into one that is closing. */
  keepAlive: Duration.seconds(75),
  /** Sockets per process: bounds memory under a flood; the proxy in front pools its own. */
  connectionsMax: 4096,
  /** Connections taken in one turn of the event loop, which lasts some 20 ms at the machine's limit. Listeners. */
  acceptsPerTurn: 16,
  /** Requests under way finish within this when a process stops; the whole process has 20 s. */
  stopDeadline: Duration.seconds(10),
  /** A copy that leaves keeps idle connections open this long, so that a request which is on its way is still answered. */
  drainGrace: Duration.seconds(3),
  /** How often a stop looks whether it is done. */
  drainLook: Duration.millis(50)
} as const

/** A whole process. */
export const Process = {
  /** A stop that takes longer than this is forced. A graceful one has 20 s. */
  killDelay: Duration.seconds(25)
} as const

/** Traces on their way to a collector. */
export const Telemetry = {
  /** Beyond this spans are dropped. Spans. */
  queueSpansMax: 4096,
  batchSpansMax: 512,
  exportInterval: Duration.seconds(2),
  exportDeadline: Duration.seconds(5),
  /** What a stop waits for a collector that does not answer. */
  stopDeadline: Duration.seconds(2)
} as const

/** Verification of tokens. */
export const Identity = {
  /** Clocks of issuer and desk may differ by this. */
  clockTolerance: Duration.seconds(30),
  /** Verified tokens kept, so that a signature is checked once per token and not once per request. Tokens. */
  verifiedTokensMax: 10_000,
  /** Longer tokens are not looked at. Characters. */
  tokenLengthMax: 8192,
  /** A key set has a handful of keys. Bytes. */
  keySetBytesMax: ByteSize.kibibytes(256),
  fetchDeadline: Duration.seconds(3),
  /** A key set is fetched again no sooner for an unknown key, so that forged tokens cannot make us hammer the issuer. */
  refetchDelay: Duration.seconds(10),
  /** A key set is refreshed when older than this; while the issuer is away the old one stays in use. */
  keySetLifetime: Duration.minutes(10),
  /** How soon a changed key set file is noticed. */
  fileCheckInterval: Duration.seconds(1),
  fetchesAtOnceMax: 1,
  acquireDeadline: Duration.seconds(3)
} as const
