// What an operator sets is read as said, and what is wrong is told in one sentence without the value.
import { describe, expect, it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { databaseUrl, Settings } from "../src/Config.ts"

const read = (env: Record<string, string>) => Effect.provide(Settings, Settings.fromEnv(env))
const refusal = (env: Record<string, string>) => Effect.flip(read(env))

it.effect("everything has a default but the database", () =>
  Effect.gen(function* () {
    const settings = yield* read({})
    expect(settings).toMatchObject({ host: "127.0.0.1", commandPort: 7400, grpcPort: 7401, fileWorkerPort: 7450 })
    expect(settings.jwks).toBe(".holdfast/keys/jwks.json")
    expect(settings.log).toBe("json")
    expect(Option.isNone(settings.databaseUrl)).toBe(true)
    const error = yield* Effect.flip(Effect.provide(databaseUrl, Settings.fromEnv({})))
    expect(error.message).toContain("HOLDFAST_DATABASE_URL is not set")
    expect(error.exitCode).toBe(78)
  })
)

it.effect("the read side is the core database unless it has its own", () =>
  Effect.gen(function* () {
    const core = "postgres://u:p@db:5432/desk"
    const own = "postgres://u:p@replica:5432/desk"
    const one = yield* read({ HOLDFAST_DATABASE_URL: core })
    const two = yield* read({ HOLDFAST_DATABASE_URL: core, HOLDFAST_READ_DATABASE_URL: own })
    expect(Option.map(one.readDatabaseUrl, Redacted.value)).toEqual(Option.some(core))
    expect(Option.map(two.readDatabaseUrl, Redacted.value)).toEqual(Option.some(own))
  })
)

it.effect("quotas of uploads are given in mebibytes", () =>
  Effect.gen(function* () {
    const gibibyte = 2 ** 30
    expect(yield* read({})).toMatchObject({
      uploadQuotaPrincipalBytes: 20 * gibibyte,
      uploadQuotaTotalBytes: 200 * gibibyte
    })
    const set = yield* read({ HOLDFAST_UPLOAD_QUOTA_PRINCIPAL_MIB: "5" })
    expect(set.uploadQuotaPrincipalBytes).toBe(5 * 2 ** 20)
    for (const wrong of ["0", "-1", "1.5", "much"]) {
      const error = yield* refusal({ HOLDFAST_UPLOAD_QUOTA_TOTAL_MIB: wrong })
      expect(error.message).toContain("HOLDFAST_UPLOAD_QUOTA_TOTAL_MIB is not valid: expected")
    }
  })
)

it.effect("lists are split, and an empty variable counts as unset", () =>
  Effect.gen(function* () {
    const settings = yield* read({
      HOLDFAST_ALLOWED_ORIGINS: "https://a.example, https://b.example,",
      HOLDFAST_REDIS_URL: "",
      HOLDFAST_HOST: ""
    })
    expect(settings.allowedOrigins).toEqual(["https://a.example", "https://b.example"])
    expect(Option.isNone(settings.redisUrl)).toBe(true)
    expect(settings.host).toBe("127.0.0.1")
  })
)

it.effect("the nodes of a cluster are several URLs", () =>
  Effect.gen(function* () {
    const nodes = "amqp://u:a,b@one:5672/desk,amqp://u:a,b@two:5672/desk"
    const settings = yield* read({ HOLDFAST_RABBITMQ_URL: nodes })
    expect(Option.map(settings.rabbitmqUrl, Redacted.value)).toEqual(Option.some(nodes))
    const error = yield* refusal({ HOLDFAST_RABBITMQ_URL: "amqp://one:5672,http://two" })
    expect(error.message).toContain("or several with commas between them")
  })
)

it.effect("released content lies on the disk, or where a URL says", () =>
  Effect.gen(function* () {
    expect(Option.isNone((yield* read({})).storage)).toBe(true)
    const plain = yield* read({ HOLDFAST_STORAGE_URL: "s3://files@s3.example" })
    expect(plain.storage).toEqual(
      Option.some({ endpoint: "https://s3.example", bucket: "files", prefix: "", region: "us-east-1" })
    )
    const full = yield* read({ HOLDFAST_STORAGE_URL: "s3://files@10.0.0.7:9000/desk/one/?region=garage&tls=false" })
    expect(full.storage).toEqual(
      Option.some({ endpoint: "http://10.0.0.7:9000", bucket: "files", prefix: "desk/one/", region: "garage" })
    )
  })
)

it.effect.each([
  "https://s3.example/files",
  "s3://s3.example/files",
  "s3://key:hunter2@s3.example",
  "s3://files@s3.example?tsl=false",
  "s3://files@s3.example?tls=maybe",
  "s3://files@s3.example/a%20b",
  "s3://Files!@s3.example"
])("an address of object storage that says something else is refused: %s", (url) =>
  Effect.gen(function* () {
    const { message } = yield* refusal({ HOLDFAST_STORAGE_URL: url })
    expect(message).toContain("HOLDFAST_STORAGE_URL is not valid: expected a URL like s3://bucket@host:9000/prefix")
    expect(message).not.toContain("hunter2")
  })
)

describe("what is wrong", () => {
  it.effect.each([
    ["HOLDFAST_DATABASE_URL", "mysql://root:hunter2@db/desk", "postgres://user:password@host:5432/name"],
    ["HOLDFAST_RABBITMQ_URL", "hunter2", "amqp://user:password@host:5672"],
    ["HOLDFAST_REDIS_URL", "http://hunter2", "redis://:password@host:6379"],
    ["HOLDFAST_CLAMD_URL", "hunter2:3310", "tcp://host:3310"],
    ["HOLDFAST_OTLP_URL", "hunter2", "http://host:8080"],
    ["HOLDFAST_DOWNLOAD_KEY", "hunter2", "at least 32 characters"],
    ["HOLDFAST_COMMAND_PORT", "70000", "65535"],
    ["HOLDFAST_LOG", "hunter2", "json"]
  ] as const)("%s is named with what it should be, never with its value", ([name, value, expected]) =>
    Effect.gen(function* () {
      const error = yield* refusal({ [name]: value })
      expect(error.message).toMatch(new RegExp(`^${name} is not valid: .*\\.$`))
      expect(error.message).toContain(expected)
      expect(error.message).not.toContain("hunter2")
      expect(error.exitCode).toBe(78)
    })
  )
})

it.effect("secrets do not print", () =>
  Effect.gen(function* () {
    const settings = yield* read({
      HOLDFAST_DATABASE_URL: "postgres://u:hunter2@db:5432/desk",
      HOLDFAST_DOWNLOAD_KEY: "hunter2".repeat(6)
    })
    expect(JSON.stringify(settings)).not.toContain("hunter2")
  })
)

it.effect("rates are told in kibibytes a second, the line's in megabits, and both are whole numbers", () =>
  Effect.gen(function* () {
    expect(yield* read({})).toMatchObject({ uploadRate: null, downloadRatePerClient: null, lineRate: null })
    const settings = yield* read({
      HOLDFAST_UPLOAD_KIB_PER_SECOND: "100",
      HOLDFAST_DOWNLOAD_KIB_PER_SECOND_PER_CLIENT: "50",
      HOLDFAST_LINE_MEGABITS_PER_SECOND: "10"
    })
    expect(settings).toMatchObject({ uploadRate: 102_400, downloadRatePerClient: 51_200, lineRate: 1_250_000 })
    const error = yield* refusal({ HOLDFAST_LINE_MEGABITS_PER_SECOND: "0" })
    expect(error.message).toBe("HOLDFAST_LINE_MEGABITS_PER_SECOND is not valid: expected a whole number of at least 1.")
  })
)
