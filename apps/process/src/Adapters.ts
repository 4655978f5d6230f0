// The outside as a process sees it, chosen by its settings: the real server where its URL is set, else what stands in for it. Nothing
// else of a process changes with that choice. Each layer exists once per process, so that whoever needs it shares one pool, one
// connection and one breaker.
import { join } from "node:path"
import type { Broker } from "@holdfast/broker/Broker"
import * as BrokerEmbedded from "@holdfast/broker/BrokerEmbedded"
import * as BrokerRabbitMq from "@holdfast/broker/BrokerRabbitMq"
import type { Signals } from "@holdfast/broker/Signals"
import * as SignalsEmbedded from "@holdfast/broker/SignalsEmbedded"
import * as SignalsRabbitMq from "@holdfast/broker/SignalsRabbitMq"
import * as CacheEmbedded from "@holdfast/cache/CacheEmbedded"
import * as CacheRedis from "@holdfast/cache/CacheRedis"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { type Callers, Database, ReadDatabase } from "@holdfast/database/Database"
import * as EventLogPostgres from "@holdfast/database/EventLogPostgres"
import * as NoticesPostgres from "@holdfast/database/NoticesPostgres"
import * as IdentityJwks from "@holdfast/identity/IdentityJwks"
import type { Health } from "@holdfast/resilience/Health"
import * as ScannerClamAv from "@holdfast/scanner/ScannerClamAv"
import * as ScannerEmbedded from "@holdfast/scanner/ScannerEmbedded"
import * as BlobStoreDisk from "@holdfast/storage/BlobStoreDisk"
import * as BlobStoreS3 from "@holdfast/storage/BlobStoreS3"
import { type Duration, Effect, Layer, Option } from "effect"
import { databaseUrl, type ProcessSettings, readDatabaseUrl, Settings } from "./Config.ts"
import { requireSchema, sessionName } from "./Schema.ts"
import { storageKeys } from "./StorageKeys.ts"

export interface AdapterOptions {
  /** The process, as servers show it among their connections. */
  readonly process: string
  /** `people` unless told. */
  readonly callers?: Callers
  /** For a process whose statements may take longer than a person waits. */
  readonly statementDeadline?: Duration.Duration
}

export const makeAdapters = (options: AdapterOptions) => {
  const core = database(options)
  const log = Layer.mergeAll(EventLogPostgres.layer, ConsumerCursors.layer).pipe(Layer.provideMerge(core))
  return {
    /** `PgClient`, `SqlClient` and the guarded `Database`. */
    database: core,
    /** `EventLog` and `ConsumerCursors`, with the database. */
    eventLog: log,
    /** `ReadClient` and the guarded `ReadDatabase`. */
    readDatabase: readDatabase(options),
    /** To read the change feed. */
    broker: broker(options, log, BrokerRabbitMq.layer),
    /** To publish and to consume: with the log, from which it makes good what RabbitMQ loses. */
    workerBroker: broker(options, log, (rabbitMq) => Layer.provide(BrokerRabbitMq.layerOnLog(rabbitMq), log)),
    /** Among gateways, of what is not worth keeping. */
    signals: signals(options, core),
    cache,
    scanner,
    identity,
    released
  }
}

const clientOptions = ({ process, statementDeadline }: AdapterOptions) => ({
  applicationName: sessionName(process),
  ...(statementDeadline === undefined ? {} : { statementDeadline })
})

const database = (options: AdapterOptions) =>
  Layer.effectDiscard(requireSchema("core", Database)).pipe(
    Layer.provideMerge(Database.layerFor(options.callers ?? "people")),
    Layer.provideMerge(
      Layer.unwrap(Effect.map(databaseUrl, (url) => ClientPostgres.layer({ ...clientOptions(options), url })))
    )
  )

const readDatabase = (options: AdapterOptions) =>
  Layer.effectDiscard(requireSchema("read", ReadDatabase)).pipe(
    Layer.provideMerge(ReadDatabase.layerFor(options.callers ?? "people")),
    Layer.provideMerge(
      Layer.unwrap(Effect.map(readDatabaseUrl, (url) => ClientPostgres.layerRead({ ...clientOptions(options), url })))
    )
  )

type Log<E> = Layer.Layer<Layer.Success<typeof EventLogPostgres.layer> | ConsumerCursors, E, Settings | Health>

type OnRabbitMq<E> = (options: BrokerRabbitMq.RabbitMqOptions) => Layer.Layer<Broker, E, Settings | Health>

/** Where it is the event log, it brings that along; a process that only listens then needs the database too. */
const broker = <E>({ process }: AdapterOptions, log: Log<E>, onRabbitMq: OnRabbitMq<E>) =>
  chosen(
    (settings): Layer.Layer<Broker, E, Settings | Health> =>
      Option.match(settings.rabbitmqUrl, {
        onNone: () => Layer.provide(BrokerEmbedded.layer, log),
        onSome: (url) => onRabbitMq({ url, applicationName: `holdfast ${process}` })
      })
  )

const signals = <E>(
  { process }: AdapterOptions,
  core: Layer.Layer<Layer.Success<ReturnType<typeof database>>, E, Settings | Health>
) =>
  chosen(
    (settings): Layer.Layer<Signals, E, Settings | Health> =>
      Option.match(settings.rabbitmqUrl, {
        onNone: () => SignalsEmbedded.layer.pipe(Layer.provide(NoticesPostgres.layer), Layer.provide(core)),
        onSome: (url) => SignalsRabbitMq.layer({ url, applicationName: `holdfast ${process} signals` })
      })
  )

const chosen = <A, E, R>(choose: (settings: ProcessSettings) => Layer.Layer<A, E, R>) =>
  Layer.unwrap(Settings.use((settings) => Effect.succeed(choose(settings))))

const cache = chosen((settings) =>
  Option.match(settings.redisUrl, {
    onNone: () => CacheEmbedded.layer({ file: join(settings.dataDir, "cache", "cache.sqlite") }),
    onSome: (url) => CacheRedis.layer({ url })
  })
)

const scanner = chosen((settings) =>
  Option.match(settings.clamdUrl, {
    onNone: () => ScannerEmbedded.layer,
    onSome: (url) => ScannerClamAv.layer({ url })
  })
)

const identity = chosen(({ dataDir, jwks, tokenAudience, tokenIssuer }) =>
  IdentityJwks.layer({
    jwks,
    audience: tokenAudience,
    issuer: tokenIssuer,
    copy: join(dataDir, "keys", "jwks.kept.json")
  })
)

/** What downloads give, and as its sweep sees it: in a folder on the disk, or in object storage. */
const released = (root: string) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const { diskReserveBytes, storage } = yield* Settings
      if (Option.isNone(storage)) return BlobStoreDisk.layerReleased({ root, freeBytesMin: diskReserveBytes })
      return BlobStoreS3.layerReleased({ ...storage.value, ...(yield* storageKeys) })
    })
  )
