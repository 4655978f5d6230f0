// The services of the database adapter on the simulated servers, each call through a guard like the real one's. What the real adapter does
// beside its statements is done here too: a batch that the server refuses is tried again command by command; a leader proves its session
// once a second, and is not told when it is lost.
import { Position, StreamId } from "@holdfast/contracts/Ids"
import type { AppendOutcome, CommandStore, Decided } from "@holdfast/database/CommandStore"
import type { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { type EventLog, LogId } from "@holdfast/database/EventLog"
import { makeNumberStock } from "@holdfast/database/NumberStock"
import type { Parking } from "@holdfast/database/ParkedEvents"
import type { ReadProjection, ReadTables } from "@holdfast/database/ReadTables"
import type { VolumeHours } from "@holdfast/database/VolumeHours"
import type { WebhookDeliveries } from "@holdfast/database/WebhookDeliveries"
import { deadline } from "@holdfast/resilience/Deadline"
import { Commands, Database as DatabaseLimits, EventLog as EventLogLimits, Leader } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Duration, Effect, Option, Queue, Random, Stream } from "effect"
import type { Appended, PostgresCore } from "./PostgresCore.ts"
import type { PostgresReactions } from "./PostgresReactions.ts"
import type { PostgresRead } from "./PostgresRead.ts"
import type { SimulatedProcess } from "./SimulatedProcess.ts"
import { type Guarded, guarded, type ServerError, ServerRefusal, type SimulatedServer } from "./SimulatedServer.ts"

export const coreGuard = (process: SimulatedProcess, server: SimulatedServer, countsRefusals: boolean) =>
  guarded(
    process,
    server,
    {
      dependency: "database",
      deadline: Duration.sum(Commands.statementDeadline, Commands.poolAcquireDeadline),
      concurrencyMax: DatabaseLimits.poolConnectionsMax,
      acquireDeadline: Commands.poolAcquireDeadline
    },
    countsRefusals
  )

export const readGuard = (process: SimulatedProcess, server: SimulatedServer, countsRefusals: boolean) =>
  guarded(
    process,
    server,
    {
      dependency: "read-database",
      deadline: DatabaseLimits.readDeadline,
      concurrencyMax: DatabaseLimits.poolConnectionsMax,
      acquireDeadline: Commands.poolAcquireDeadline
    },
    countsRefusals
  )

interface Written {
  readonly outcomes: ReadonlyArray<Appended>
  readonly numbers: ReadonlyArray<number>
}

export const commandStore = (
  process: SimulatedProcess,
  server: SimulatedServer,
  database: Guarded,
  core: PostgresCore
): CommandStore["Service"] => {
  const stock = makeNumberStock()
  const statement = (batch: ReadonlyArray<Decided>) => {
    const missing = stock.missing()
    return server.callLong<Written>(process, (done) =>
      core.append(batch, (result) =>
        done(result instanceof ServerRefusal ? result : { outcomes: result, numbers: core.takeNumbers(missing) })
      )
    )
  }
  const attempt = (batch: ReadonlyArray<Decided>) =>
    database.run(Effect.catch(statement(batch), answered)).pipe(
      Effect.map((result) => {
        if (result instanceof ServerRefusal) return result
        stock.put(result.numbers)
        return result.outcomes
      })
    )
  const one = (decided: Decided): Effect.Effect<AppendOutcome> =>
    attempt([decided]).pipe(
      Effect.map((result) => (result instanceof ServerRefusal ? alone(result) : (result[0] ?? "refused"))),
      Effect.catch((unavailable) => Effect.succeed<AppendOutcome>(unavailable))
    )
  return {
    load: (keys) => database.call(() => core.load(keys)),
    append: (batch) =>
      Effect.flatMap(attempt(batch), (result): Effect.Effect<ReadonlyArray<AppendOutcome>> => {
        if (!(result instanceof ServerRefusal)) return Effect.succeed(result)
        process.world.coverage.hit("batch fell apart")
        return Effect.forEach(batch, one, { concurrency: 3 })
      }),
    takeNumbers: Effect.fnUntraced(function* (count) {
      for (let taken = stock.take(count); ; taken = stock.take(count)) {
        if (taken !== null) return taken
        stock.put(yield* database.call(() => core.takeNumbers(stock.missing(count))))
      }
    }),
    giveBackNumbers: (numbers) => Effect.sync(() => stock.put(numbers)),
    sweepReceipts: () => Effect.succeed(0)
  }
}

/** The refusal as a value, so that it does not count against a server that is well. */
const answered = (error: ServerError): Effect.Effect<ServerRefusal, ServerError> =>
  error instanceof ServerRefusal ? Effect.succeed(error) : Effect.fail(error)

const alone = ({ kind }: ServerRefusal): AppendOutcome => {
  if (kind === "unique") return "version_moved"
  return kind === "contention" ? "busy" : "refused"
}

interface Session {
  readonly process: SimulatedProcess
  isOver: boolean
}

/** Who leads which role: sessions of the database server. */
export class Leaders {
  readonly #holders = new Map<string, Session>()
  readonly #server: SimulatedServer

  constructor(server: SimulatedServer) {
    this.#server = server
  }

  /** Ends with the server, or a moment after its process: the kernel of the dead closes their sockets. */
  open(process: SimulatedProcess): Session {
    const session: Session = { process, isOver: false }
    this.#server.onLost.add(() => this.end(session))
    process.onEnd.add(() => this.#server.world.after(this.#server.latencyMs(), () => this.end(session)))
    return session
  }

  end(session: Session): void {
    session.isOver = true
    for (const [role, holder] of this.#holders) if (holder === session) this.#holders.delete(role)
  }

  /** True: held from now on, until the session is over. */
  take(role: string, session: Session): boolean {
    if (session.isOver || this.#holders.has(role)) return false
    this.#holders.set(role, session)
    this.#server.world.tell(`${session.process.name} leads ${role}`)
    this.#server.world.coverage.hit("leader taken")
    return true
  }
}

export const eventLog = (
  process: SimulatedProcess,
  server: SimulatedServer,
  database: Guarded,
  core: PostgresCore,
  leaders: Leaders
): EventLog["Service"] => ({
  assignPositions: (countMax) => database.call(() => core.assignPositions(countMax)),
  published: database.call(() => Position.make(core.published)),
  markPublished: (position) =>
    database.call(() => {
      core.published = Math.max(core.published, position)
    }),
  // Never restored from a backup in here.
  identity: Effect.succeed(LogId.make("log")),
  renewIdentity: () => Effect.die("the simulated log is never set back"),
  lastPosition: database.call(() => Position.make(core.positioned.length)),
  hasUnpositioned: database.call(() => core.waiting.length > 0),
  readAfter: (after, countMax) =>
    database.call(() => core.readAfter(after, Math.min(countMax, EventLogLimits.readEventsMax))),
  readStream: (streamId, after) => database.call(() => core.readStream(streamId, after)),
  readAt: (positions) => database.call(() => core.positioned.filter(({ position }) => positions.includes(position))),
  wakeups: wakeups(process, server, core),
  lead: (role, work) => lead(process, server, leaders, role, work)
})

/** A notification may be lost; the tick covers it. */
const wakeups = (process: SimulatedProcess, server: SimulatedServer, core: PostgresCore): Stream.Stream<void> =>
  Stream.merge(
    Stream.callback<void>((queue) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const heard = () => {
            if (server.mode !== "up" || process.world.seed.chance(0.1)) return
            process.after(server.latencyMs(), () => Queue.offerUnsafe(queue, undefined))
          }
          core.onPositions.add(heard)
          process.onEnd.add(() => core.onPositions.delete(heard))
          return heard
        }),
        (heard) => Effect.sync(() => core.onPositions.delete(heard))
      )
    ),
    Stream.tick(EventLogLimits.wakeupInterval)
  )

const lead = <A, E, R>(
  process: SimulatedProcess,
  server: SimulatedServer,
  leaders: Leaders,
  role: string,
  work: Effect.Effect<A, E, R>
): Effect.Effect<A, E | Unavailable, R> =>
  Effect.suspend(() => {
    const session = leaders.open(process)
    const isOver = Effect.suspend(() => (session.isOver ? Effect.fail(sessionLost(role)) : Effect.void))
    const attempt = proven(
      role,
      server.call(process, () => leaders.take(role, session))
    )
    const awaitTurn = Effect.gen(function* () {
      while (!(yield* attempt)) {
        yield* Effect.sleep(Duration.times(Leader.retryDelay, yield* Random.nextBetween(0.8, 1.2)))
        yield* isOver
      }
    })
    const check = Effect.andThen(
      proven(
        role,
        server.call(process, () => true)
      ),
      isOver
    )
    const watch = Effect.forever(Effect.andThen(Effect.sleep(Leader.checkInterval), check))
    return Effect.andThen(awaitTurn, Effect.raceFirst(work, watch)).pipe(
      Effect.ensuring(Effect.sync(() => server.world.after(server.latencyMs(), () => leaders.end(session))))
    )
  })

const proven = <A>(role: string, statement: Effect.Effect<A, ServerError>): Effect.Effect<A, Unavailable> =>
  Effect.mapError(deadline(Leader.checkDeadline)(statement), () => sessionLost(role))

const sessionLost = (role: string) =>
  new Unavailable({
    dependency: "database",
    reason: "connection_lost",
    retryAfterMs: Duration.toMillis(Leader.retryDelay),
    detail: `the session that leads ${role} has no connection`
  })

export const consumerCursors = (database: Guarded, reactions: PostgresReactions): ConsumerCursors["Service"] => ({
  read: (group) => database.call(() => Position.make(reactions.cursors.get(group) ?? 0)),
  advance: (group, position) =>
    database.call(() => {
      reactions.cursors.set(group, Math.max(reactions.cursors.get(group) ?? 0, position))
    })
})

export const parking = (database: Guarded, reactions: PostgresReactions): Parking["Service"] => ({
  blockedStreams: (group) =>
    database.call(() => new Set(reactions.blockedStreams(group).map((id) => StreamId.make(id)))),
  park: (group, envelope, reason) => database.call(() => reactions.park(group, envelope, reason)),
  parkBehind: (group, envelope) => database.call(() => reactions.parkBehind(group, envelope)),
  claimReplay: (group) => database.call(() => Option.fromNullOr(reactions.claimReplay(group))),
  resolve: (group, envelope) => database.call(() => reactions.resolve(group, envelope)),
  giveBack: (group, envelope, reason) => database.call(() => reactions.giveBack(group, envelope, reason))
})

export const webhookDeliveries = (database: Guarded, reactions: PostgresReactions): WebhookDeliveries["Service"] => ({
  enqueue: (endpoints, envelope) =>
    database.call(() => {
      for (const endpoint of endpoints) reactions.enqueue(endpoint, envelope)
    }),
  claim: (endpoint, countMax) => database.call(() => reactions.claim(endpoint, countMax)),
  delivered: (endpoint, eventId) => database.call(() => reactions.delivered(endpoint, eventId)),
  failed: (endpoint, eventId, _error, retryAfter) =>
    database.call(() => reactions.failed(endpoint, eventId, retryAfter)),
  sweep: Effect.succeed(0)
})

export const readProjection = (read: Guarded, model: PostgresRead): ReadProjection["Service"] => ({
  load: ({ files, tickets }) =>
    read.call(() => ({
      tickets: tickets.flatMap((id) => model.tickets.get(id)?.ticket ?? []),
      files: files.flatMap((id) => model.files.get(id) ?? [])
    })),
  save: (changes, change) => read.call(() => model.save(changes, change)),
  progress: read.call(() => model.progress),
  sweepNotifications: () => Effect.succeed(0)
})

export const volumeHours = (read: Guarded, model: PostgresRead): VolumeHours["Service"] => ({
  add: (counted) =>
    read.call(() => {
      for (const { delta, eventId } of counted) model.addVolume(eventId, delta)
    }),
  sweep: Effect.succeed(0)
})

export const readTables = (read: Guarded, model: PostgresRead): ReadTables["Service"] => {
  const answer = <A>(question: () => A) => read.call(() => ({ ...model.reached, value: question() }))
  return {
    tickets: (request) => answer(() => model.page(request)),
    ticketsByIds: (ids) => answer(() => model.ticketsByIds(ids)),
    conversations: (requests) => answer(() => requests.map((request) => model.conversation(request))),
    files: (ids) => answer(() => ids.flatMap((id) => model.files.get(id) ?? [])),
    ticketsShowingFile: (fileId, requesterId) => answer(() => model.ticketsShowingFile(fileId, requesterId)),
    search: (request) => answer(() => model.search(request)),
    volume: (fromMs, hours) => answer(() => model.volume(fromMs, hours)),
    notifications: () => answer(() => ({ notifications: [], hasNextPage: false, unreadCount: 0 }))
  }
}
