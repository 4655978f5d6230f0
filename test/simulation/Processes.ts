// The processes of the desk, put together as `apps/` does it, with the flows as they are and simulated adapters under them.
import { Broker } from "@holdfast/broker/Broker"
import * as BrokerEmbedded from "@holdfast/broker/BrokerEmbedded"
import { runConsumer } from "@holdfast/broker/Consumer"
import { Cache } from "@holdfast/cache/Cache"
import * as HandleCommand from "@holdfast/commands/HandleCommand"
import type { Rule } from "@holdfast/contracts/automation/Rules"
import { PrincipalId } from "@holdfast/contracts/Ids"
import type { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { Converter } from "@holdfast/converter/Converter"
import { CommandStore } from "@holdfast/database/CommandStore"
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { EventLog } from "@holdfast/database/EventLog"
import { Parking } from "@holdfast/database/ParkedEvents"
import { ReadProjection, ReadTables } from "@holdfast/database/ReadTables"
import { ReleasedFiles } from "@holdfast/database/ReleasedFiles"
import { VolumeHours } from "@holdfast/database/VolumeHours"
import { WebhookDeliveries } from "@holdfast/database/WebhookDeliveries"
import { runParts } from "@holdfast/events/Registry"
import * as Ahead from "@holdfast/files/Ahead"
import { Journal } from "@holdfast/files/Journal"
import { makePipeline } from "@holdfast/files/Pipeline"
import * as Registrar from "@holdfast/files/Registrar"
import * as Execute from "@holdfast/queries/graphql/Execute"
import { Reads } from "@holdfast/queries/Reads"
import { Health } from "@holdfast/resilience/Health"
import { Inspector } from "@holdfast/scanner/Inspector"
import { Scanner } from "@holdfast/scanner/Scanner"
import { Quarantine, Released, StorageSweep, Withdrawn } from "@holdfast/storage/BlobStore"
import { Webhook } from "@holdfast/webhook/Webhook"
import { Context, Effect, Layer, Redacted, type Scope, Stream } from "effect"
import type { FaultPlan } from "./FaultPlan.ts"
import { type FileDoor, fileDoor } from "./FileDoor.ts"
import type { Ledger } from "./Ledger.ts"
import type { Mutation } from "./Mutation.ts"
import * as Postgres from "./PostgresServices.ts"
import type { Servers } from "./Servers.ts"
import { simulatedBroker } from "./SimulatedBroker.ts"
import { simulatedCache } from "./SimulatedCache.ts"
import { diskGuard, simulatedBlobs, simulatedJournal, simulatedWithdrawn } from "./SimulatedDisk.ts"
import { makeGateway, SimulatedGateway } from "./SimulatedGateway.ts"
import { simulatedFolder } from "./SimulatedGlobals.ts"
import type { SimulatedProcess } from "./SimulatedProcess.ts"
import type { Guarded } from "./SimulatedServer.ts"
import { simulatedConverter, simulatedInspector, simulatedScanner, simulatedWebhook } from "./SimulatedTools.ts"

export interface Surroundings {
  readonly plan: FaultPlan
  readonly servers: Servers
  readonly ledger: Ledger
  readonly mutation: Mutation
}

export const urgentWord = "urgent"
export const onCall = PrincipalId.make("ada")
const rules: ReadonlyArray<Rule> = [
  {
    id: "urgent",
    on: "TicketOpened",
    conditions: [{ _tag: "SubjectContains", words: urgentWord }],
    actions: [{ _tag: "AssignTo", assigneeId: onCall }]
  }
]

export const downloadKey = Redacted.make("a key that nobody else has")

/** Health as a process has it, overheard. */
const health = ({ ledger, servers }: Surroundings, process: SimulatedProcess) =>
  Effect.map(Layer.build(Health.layer), (built) => {
    const own = Context.get(built, Health)
    return Health.of({
      all: own.all,
      report: (dependency, state, detail) => {
        const name = dependency === "storage" ? "disk" : dependency
        if (name !== "identity" && name !== "object-storage") ledger.reported(process, servers.server(name), state)
        return own.report(dependency, state, detail)
      }
    })
  })

const unchanged = <A>(service: A): A => service

/** Everything on the core database. */
const core = Effect.fnUntraced(function* (around: Surroundings, process: SimulatedProcess) {
  const { mutation, servers } = around
  const server = servers.server("database")
  const database: Guarded = yield* Postgres.coreGuard(process, server, mutation.countsRefusals ?? false)
  const log = Postgres.eventLog(process, server, database, servers.core, servers.leaders)
  const store = (mutation.commandStore ?? unchanged)(Postgres.commandStore(process, server, database, servers.core))
  const cursors = Postgres.consumerCursors(database, servers.reactions)
  return Context.make(EventLog, (mutation.eventLog ?? unchanged)(log)).pipe(
    Context.add(CommandStore, store),
    Context.add(ConsumerCursors, (mutation.cursors ?? unchanged)(cursors)),
    Context.add(Parking, Postgres.parking(database, servers.reactions)),
    Context.add(WebhookDeliveries, Postgres.webhookDeliveries(database, servers.reactions))
  )
})

const bus = (store: Context.Context<CommandStore>) =>
  Layer.build(HandleCommand.layer.pipe(Layer.provide(Layer.succeedContext(store))))

const broker = Effect.fnUntraced(function* (
  { ledger, mutation, plan, servers }: Surroundings,
  process: SimulatedProcess,
  log: Context.Context<EventLog | ConsumerCursors>
) {
  const made: Broker["Service"] =
    plan.broker === "embedded"
      ? Context.get(yield* Layer.build(BrokerEmbedded.layer.pipe(Layer.provide(Layer.succeedContext(log)))), Broker)
      : yield* simulatedBroker(process, servers.server("broker"), servers.rabbit)
  const chosen = (mutation.broker ?? unchanged)(made)
  return Broker.of({
    ...chosen,
    consume: (group) =>
      Stream.tap(chosen.consume(group), ({ envelope }) => Effect.sync(() => ledger.handed(group, envelope)))
  })
})

const reading = Effect.fnUntraced(function* ({ mutation, servers }: Surroundings, process: SimulatedProcess) {
  return yield* Postgres.readGuard(process, servers.server("read-database"), mutation.countsRefusals ?? false)
})

type Booting<S> = Effect.Effect<Context.Context<S>, never, Scope.Scope>

const withHealth = <S>(
  around: Surroundings,
  process: SimulatedProcess,
  boot: Effect.Effect<Context.Context<S>, never, Scope.Scope | Health>
): Booting<S> => Effect.flatMap(health(around, process), (own) => Effect.provideService(boot, Health, own))

export const commandApi = (around: Surroundings, process: SimulatedProcess): Booting<CommandBus> =>
  withHealth(around, process, Effect.flatMap(core(around, process), bus))

export const eventWorker = (around: Surroundings, process: SimulatedProcess): Booting<never> =>
  withHealth(
    around,
    process,
    Effect.gen(function* () {
      const { ledger, mutation, plan, servers } = around
      const database = yield* core(around, process)
      const read = yield* reading(around, process)
      const webhook = yield* simulatedWebhook(process, servers.server("webhook"), (endpoint, envelope) =>
        ledger.sent(endpoint, envelope)
      )
      const volumes = Postgres.volumeHours(read, servers.read)
      const services = Context.merge(database, yield* bus(database)).pipe(
        Context.add(Broker, yield* broker(around, process, database)),
        Context.add(Cache, yield* simulatedCache(process, servers.server("cache"), servers.cache)),
        Context.add(ReadTables, Postgres.readTables(read, servers.read)),
        Context.add(ReadProjection, Postgres.readProjection(read, servers.read)),
        Context.add(VolumeHours, (mutation.volumes ?? unchanged)(volumes)),
        Context.add(Webhook, webhook)
      )
      yield* Effect.forkScoped(Effect.provide(runParts(plan.parts, rules), services))
      return Context.empty()
    })
  )

export const queryApi = (around: Surroundings, process: SimulatedProcess): Booting<Execute.QueryExecutor> =>
  withHealth(
    around,
    process,
    Effect.gen(function* () {
      const { servers } = around
      const read = yield* reading(around, process)
      const cache = yield* simulatedCache(process, servers.server("cache"), servers.cache)
      const sources = Context.make(ReadTables, Postgres.readTables(read, servers.read)).pipe(Context.add(Cache, cache))
      const reads = Reads.layer.pipe(Layer.provide(Layer.succeedContext(sources)))
      const downloads = { key: downloadKey, publicUrl: "http://files.test" }
      return yield* Layer.build(Execute.layer({ downloads }).pipe(Layer.provide(reads)))
    })
  )

export const gateway = (around: Surroundings, process: SimulatedProcess): Booting<SimulatedGateway> =>
  withHealth(
    around,
    process,
    Effect.gen(function* () {
      const database = yield* core(around, process)
      const events = yield* broker(around, process, database)
      const made = yield* Effect.provideService(makeGateway(process, around.plan.windowEventsMax), Broker, events)
      return Context.make(SimulatedGateway, made)
    })
  )

export const fileGateway = (around: Surroundings, process: SimulatedProcess): Booting<FileDoor> =>
  withHealth(
    around,
    process,
    Effect.flatMap(diskGuard(process, around.servers.server("disk")), (disk) =>
      fileDoor(disk, around.servers.disk, downloadKey)
    )
  )

/** No scanner changes its mind in these worlds, so no file is withdrawn after its release. */
const nothingWithdrawn = Context.make(ReleasedFiles, {
  rescans: () => Effect.die("nothing is to be looked at again"),
  pending: () => Effect.die("nothing is to be looked at again"),
  page: () => Effect.die("nothing is to be looked at again"),
  giving: () => Effect.die("nothing is withdrawn"),
  attachments: () => Effect.die("nothing is withdrawn")
}).pipe(
  Context.add(StorageSweep, {
    runOnce: Effect.succeed(0),
    remove: () => Effect.die("nothing is withdrawn")
  })
)

export const fileWorker = (around: Surroundings, process: SimulatedProcess): Booting<never> =>
  withHealth(
    around,
    process,
    Effect.gen(function* () {
      const { ledger, servers } = around
      const database = yield* core(around, process)
      const disk = yield* diskGuard(process, servers.server("disk"))
      const released = simulatedBlobs(disk, servers.disk.released, (_, bytes) => ledger.released(bytes))
      const services = Context.merge(database, yield* bus(database)).pipe(
        Context.add(Broker, yield* broker(around, process, database)),
        Context.add(Quarantine, simulatedBlobs(disk, servers.disk.quarantine)),
        Context.add(Released, released),
        Context.add(Withdrawn, simulatedWithdrawn(disk, servers.disk)),
        Context.merge(nothingWithdrawn),
        Context.add(Journal, simulatedJournal(disk, servers.disk)),
        Context.add(Scanner, yield* simulatedScanner(process, servers.server("scanner"))),
        Context.add(Inspector, simulatedInspector),
        Context.add(Converter, yield* simulatedConverter(process, servers.server("converter")))
      )
      const options = { workFolder: `${simulatedFolder}work` }
      const { ahead, consumer } = yield* Effect.provide(makePipeline(options), services)
      yield* Effect.forkScoped(Effect.provide(runConsumer(consumer), services))
      yield* Effect.forkScoped(Effect.provide(Ahead.run(ahead), services))
      yield* Effect.forkScoped(Effect.provide(Registrar.run, services))
      return Context.empty()
    })
  )
