// Everything that an operator may set, read once when a process starts. An empty variable counts as unset. What is wrong is told in
// one sentence that names the variable and what it should look like, never its value, which may hold a password.
import { join } from "node:path"
import { Files, Rescans, Storage } from "@holdfast/resilience/Limits"
import { parseS3Url, type S3Place, s3UrlExample } from "@holdfast/storage/S3Url"
import { ByteSize, Config, ConfigProvider, Context, Effect, Layer, Option, Redacted, Schema } from "effect"
import { StartError } from "./StartError.ts"

const fitsExample = (example: string) => {
  const protocols = new Set(example.split(" or ").map((one) => new URL(one).protocol))
  return (value: string) => {
    const parsed = URL.parse(value)
    return parsed !== null && protocols.has(parsed.protocol) && (parsed.protocol !== "tcp:" || parsed.port !== "")
  }
}
const url = (example: string) =>
  Schema.String.check(Schema.makeFilter(fitsExample(example), { expected: `a URL like ${example}` }))
const urls = (example: string) => {
  const fits = fitsExample(example)
  const expected = `a URL like ${example}, or several with commas between them`
  return Schema.String.check(
    Schema.makeFilter((value: string) => value.split(/,(?=amqps?:)/).every(fits), { expected })
  )
}
const optionalUrl = (name: string, example: string) => Config.option(Config.schema(url(example), name))
const optionalSecretUrl = (name: string, example: string) =>
  Config.map(optionalUrl(name, example), Option.map(Redacted.make))
const optionalSecret = (name: string) => Config.map(Config.option(Config.String(name)), Option.map(Redacted.make))
const optionalSecretUrls = (name: string, example: string) =>
  Config.map(Config.option(Config.schema(urls(example), name)), Option.map(Redacted.make))
const port = (name: string, standard: number) => Config.withDefault(Config.Port(name), standard)
const list = (name: string) =>
  Config.String(name).pipe(
    Config.withDefault(""),
    Config.map((text) =>
      text
        .split(",")
        .map((part) => part.trim())
        .filter((part) => part !== "")
    )
  )

/** A whole number of at least one; null when unset. */
const optionalCount = (name: string) =>
  Config.schema(
    Schema.FiniteFromString.pipe(
      Schema.decodeTo(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1, { expected: "a whole number of at least 1" })))
    ),
    name
  ).pipe(Config.option, Config.map(Option.getOrNull))
const times = (factor: number) => Config.map((count: number | null) => (count === null ? null : count * factor))
/** A bound on files in one direction, given in kibibytes a second. */
const optionalRate = (name: string) => times(1024)(optionalCount(name))
const Mebibytes = Schema.FiniteFromString.check(
  Schema.isInt(),
  Schema.isBetween({ minimum: 1, maximum: 2 ** 32 }, { expected: "a whole number of mebibytes, at least 1" })
)
const quota = (name: string, standard: ByteSize.ByteSize) =>
  Config.option(Config.schema(Mebibytes, name)).pipe(
    Config.map(Option.match({ onNone: () => standard, onSome: ByteSize.mebibytes })),
    Config.map(ByteSize.toNumberUnsafe)
  )

const databaseExample = "postgres://user:password@host:5432/name or postgresql://user:password@host:5432/name"
const httpExample = "http://host:8080 or https://host"

const all = Config.all({
  databaseUrl: optionalSecretUrl("HOLDFAST_DATABASE_URL", databaseExample),
  /** Unset: the read side lives in the core database. */
  readDatabaseUrl: optionalSecretUrl("HOLDFAST_READ_DATABASE_URL", databaseExample),
  /** Several are the nodes of one cluster; user and virtual host are those of the first. Unset: the event log in PostgreSQL stands in. */
  rabbitmqUrl: optionalSecretUrls("HOLDFAST_RABBITMQ_URL", "amqp://user:password@host:5672 or amqps://host"),
  /** Unset: an SQLite file stands in. */
  redisUrl: optionalSecretUrl("HOLDFAST_REDIS_URL", "redis://:password@host:6379 or rediss://host"),
  /** Unset: the content policy scanner stands in. */
  clamdUrl: optionalUrl("HOLDFAST_CLAMD_URL", "tcp://host:3310"),
  /** Where released content lies. Unset: on the disk, below the data folder. */
  storageUrl: Config.option(
    Config.schema(
      Schema.String.check(
        Schema.makeFilter((text: string) => parseS3Url(text) !== null, { expected: `a URL like ${s3UrlExample}` })
      ),
      "HOLDFAST_STORAGE_URL"
    )
  ),
  /** Each in its own variable, or in the file that the other names. */
  storageAccessKey: optionalSecret("HOLDFAST_STORAGE_ACCESS_KEY"),
  storageAccessKeyFile: Config.option(Config.String("HOLDFAST_STORAGE_ACCESS_KEY_FILE")),
  storageSecretKey: optionalSecret("HOLDFAST_STORAGE_SECRET_KEY"),
  storageSecretKeyFile: Config.option(Config.String("HOLDFAST_STORAGE_SECRET_KEY_FILE")),
  dataDir: Config.withDefault(Config.String("HOLDFAST_DATA_DIR"), ".holdfast"),
  /** Always left free on the disk of the files, for journal and logs. Given in mebibytes. */
  diskReserveBytes: Config.option(Config.Int("HOLDFAST_DISK_RESERVE_MIB")).pipe(
    Config.map(Option.match({ onNone: () => Storage.freeBytesMin, onSome: ByteSize.mebibytes })),
    Config.map(ByteSize.toNumberUnsafe)
  ),
  /** Bytes a second that uploads, then downloads, may take: all together, and those of one client. Unset: `Files` in Limits.ts. */
  uploadRate: optionalRate("HOLDFAST_UPLOAD_KIB_PER_SECOND"),
  uploadRatePerClient: optionalRate("HOLDFAST_UPLOAD_KIB_PER_SECOND_PER_CLIENT"),
  downloadRate: optionalRate("HOLDFAST_DOWNLOAD_KIB_PER_SECOND"),
  downloadRatePerClient: optionalRate("HOLDFAST_DOWNLOAD_KIB_PER_SECOND_PER_CLIENT"),
  /** Bytes a second that the line to the clients carries in each direction, given in megabits; files leave a share of it free. */
  lineRate: times(125_000)(optionalCount("HOLDFAST_LINE_MEGABITS_PER_SECOND")),
  /** What each principal, and all together, may store within 24 hours. Given in mebibytes. */
  uploadQuotaPrincipalBytes: quota("HOLDFAST_UPLOAD_QUOTA_PRINCIPAL_MIB", Files.uploadQuotaPerPrincipalBytes),
  uploadQuotaTotalBytes: quota("HOLDFAST_UPLOAD_QUOTA_TOTAL_MIB", Files.uploadQuotaTotalBytes),
  /** What becomes of files that cannot be looked into: encrypted, beyond the expansion budget, of a kind that nobody here opens. */
  opaqueFiles: Config.withDefault(Config.Literals(["reject", "hold"], "HOLDFAST_OPAQUE_FILES"), "reject"),
  /** Files released so many days ago and less are looked at again when the scanner's signatures change; 0: none is. */
  rescanDays: Config.withDefault(
    Config.schema(
      Schema.NumberFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: 3650 })),
      "HOLDFAST_RESCAN_DAYS"
    ),
    Rescans.daysDefault
  ),
  host: Config.withDefault(Config.String("HOLDFAST_HOST"), "127.0.0.1"),
  commandPort: port("HOLDFAST_COMMAND_PORT", 7400),
  grpcPort: port("HOLDFAST_GRPC_PORT", 7401),
  queryPort: port("HOLDFAST_QUERY_PORT", 7410),
  realtimePort: port("HOLDFAST_REALTIME_PORT", 7420),
  filePort: port("HOLDFAST_FILE_PORT", 7430),
  eventWorkerPort: port("HOLDFAST_EVENT_WORKER_PORT", 7440),
  fileWorkerPort: port("HOLDFAST_FILE_WORKER_PORT", 7450),
  /** A path or an http(s) URL. Unset: the key set that the desk made for itself. */
  jwks: Config.option(Config.String("HOLDFAST_JWKS")),
  tokenIssuer: Config.withDefault(Config.String("HOLDFAST_TOKEN_ISSUER"), "holdfast"),
  tokenAudience: Config.withDefault(Config.String("HOLDFAST_TOKEN_AUDIENCE"), "holdfast"),
  /** Signs download links; at least 32 characters. Unset: read from the key file. */
  downloadKey: Config.option(
    Config.map(
      Config.schema(
        Schema.String.check(Schema.isMinLength(32, { expected: "at least 32 characters" })),
        "HOLDFAST_DOWNLOAD_KEY"
      ),
      Redacted.make
    )
  ),
  downloadKeyFile: Config.option(Config.String("HOLDFAST_DOWNLOAD_KEY_FILE")),
  publicFileUrl: Config.withDefault(
    Config.schema(url(httpExample), "HOLDFAST_PUBLIC_FILE_URL"),
    "http://127.0.0.1:7430"
  ),
  /** Web pages that may call the desk from other origins. */
  allowedOrigins: list("HOLDFAST_ALLOWED_ORIGINS"),
  rulesFile: Config.option(Config.String("HOLDFAST_RULES")),
  webhooksFile: Config.option(Config.String("HOLDFAST_WEBHOOKS")),
  webhookAllowPrivate: Config.withDefault(Config.Boolean("HOLDFAST_WEBHOOK_ALLOW_PRIVATE"), false),
  /** Unset: spans keep their ids but are not exported. */
  otlpUrl: optionalUrl("HOLDFAST_OTLP_URL", httpExample),
  log: Config.withDefault(Config.Literals(["json", "pretty"], "HOLDFAST_LOG"), "json"),
  /** Base URLs of the processes that the status page asks. */
  statusTargets: list("HOLDFAST_STATUS_TARGETS")
})

type Read = Config.Success<typeof all>

export type ProcessSettings = Omit<Read, "jwks" | "readDatabaseUrl" | "downloadKeyFile" | "storageUrl"> & {
  readonly jwks: string
  readonly readDatabaseUrl: Option.Option<Redacted.Redacted<string>>
  readonly downloadKeyFile: string
  readonly storage: Option.Option<S3Place>
}

const withDerived = ({ storageUrl, ...read }: Read): ProcessSettings => ({
  ...read,
  storage: Option.flatMap(storageUrl, (text) => Option.fromNullOr(parseS3Url(text))),
  readDatabaseUrl: Option.orElse(read.readDatabaseUrl, () => read.databaseUrl),
  jwks: Option.getOrElse(read.jwks, () => join(read.dataDir, "keys", "jwks.json")),
  downloadKeyFile: Option.getOrElse(read.downloadKeyFile, () => join(read.dataDir, "keys", "download.key"))
})

/** `Expected a URL like x\n  at ["NAME"]` becomes `NAME: expected a URL like x`. */
const inOneSentence = (message: string): string => {
  const [, what = message, name] = /^(.*?)\s+at \["([A-Z0-9_]+)"\]/s.exec(message) ?? []
  const expected = what.charAt(0).toLowerCase() + what.slice(1).replaceAll(/\s+/g, " ")
  return name === undefined ? `The configuration is not valid: ${expected}.` : `${name} is not valid: ${expected}.`
}

export class Settings extends Context.Service<Settings, ProcessSettings>()("@holdfast/process/Settings") {
  static readonly fromEnv = (env: Readonly<Record<string, string | undefined>>) => {
    const set = Object.fromEntries(
      Object.entries(env).flatMap(([name, value]) => (value === undefined || value === "" ? [] : [[name, value]]))
    )
    return Layer.effect(
      this,
      all.parse(ConfigProvider.fromEnv({ env: set })).pipe(
        Effect.map(withDerived),
        Effect.mapError((error) => StartError.configuration(inOneSentence(error.cause.message)))
      )
    )
  }
  static readonly layer = Layer.suspend(() => Settings.fromEnv(process.env))
}

const required = (
  variable: string,
  read: (settings: ProcessSettings) => Option.Option<Redacted.Redacted<string>>
): Effect.Effect<Redacted.Redacted<string>, StartError, Settings> =>
  Settings.use((settings) =>
    Effect.fromOption(read(settings)).pipe(
      Effect.mapError(() =>
        StartError.configuration(
          `${variable} is not set: give the URL of a PostgreSQL database, or run \`holdfast up\`, which brings its own.`
        )
      )
    )
  )

/** For processes that cannot do without. */
export const databaseUrl = required("HOLDFAST_DATABASE_URL", (settings) => settings.databaseUrl)
export const readDatabaseUrl = required("HOLDFAST_DATABASE_URL", (settings) => settings.readDatabaseUrl)
