// Each role is moved by its URL alone, and every layer can be built while nothing is there: a process starts before its dependencies.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Broker } from "@holdfast/broker/Broker"
import { Cache, type CacheKey } from "@holdfast/cache/Cache"
import { Sha256 } from "@holdfast/contracts/Ids"
import { Database, ReadDatabase } from "@holdfast/database/Database"
import { Identity } from "@holdfast/identity/Identity"
import { Health } from "@holdfast/resilience/Health"
import { Scanner } from "@holdfast/scanner/Scanner"
import { Released } from "@holdfast/storage/BlobStore"
import { Effect, Layer, Redacted } from "effect"
import { makeAdapters } from "../src/Adapters.ts"
import { Settings } from "../src/Config.ts"
import { downloadKey } from "../src/DownloadKey.ts"

const key: CacheKey = "ticket/019a0000-0000-7000-8000-000000000001"
const nobody = "127.0.0.1:7648"

const dataDir = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-adapters-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

const environment = (env: Record<string, string>) => Layer.mergeAll(Settings.fromEnv(env), Health.layer)

describe("without any URL", () => {
  it.live("the cache is a file and the scanner says what it is", () =>
    Effect.gen(function* () {
      const env = environment({ HOLDFAST_DATA_DIR: yield* dataDir })
      const adapters = makeAdapters({ process: "test" })
      const [held, tool] = yield* Effect.gen(function* () {
        return [yield* Cache.use((cache) => cache.getMany([])), yield* Scanner.use((scanner) => scanner.tool)] as const
      }).pipe(Effect.provide(Layer.mergeAll(adapters.cache, adapters.scanner).pipe(Layer.provide(env))))
      expect(held).toEqual([])
      expect(tool.name).not.toMatch(/clam/i)
    })
  )

  it.live("what needs a database says which variable is missing", () =>
    Effect.gen(function* () {
      const adapters = makeAdapters({ process: "test" })
      const refusal = <A, E>(layer: Layer.Layer<A, E, Settings | Health>) =>
        Effect.flip(Effect.scoped(Layer.build(Layer.provide(layer, environment({})))))
      for (const error of [
        yield* refusal(adapters.database),
        yield* refusal(adapters.readDatabase),
        yield* refusal(adapters.broker)
      ]) {
        expect(String(error)).toContain("HOLDFAST_DATABASE_URL is not set")
      }
    })
  )
})

describe("with URLs at which nobody answers", () => {
  const env = environment({
    HOLDFAST_DATABASE_URL: `postgres://nobody@${nobody}/desk`,
    HOLDFAST_RABBITMQ_URL: `amqp://nobody@${nobody}`,
    HOLDFAST_REDIS_URL: `redis://${nobody}`,
    HOLDFAST_CLAMD_URL: `tcp://${nobody}`,
    HOLDFAST_JWKS: `http://${nobody}/jwks.json`
  })
  const adapters = makeAdapters({ process: "test" })
  const everything = Layer.mergeAll(
    adapters.database,
    adapters.readDatabase,
    adapters.broker,
    adapters.cache,
    adapters.scanner,
    adapters.identity
  ).pipe(Layer.provide(env))

  it.live("everything is built, and every call is a typed refusal", () =>
    Effect.gen(function* () {
      const refusals = yield* Effect.all([
        Effect.flip(Cache.use((cache) => cache.getMany([key]))),
        Effect.flip(Scanner.use((scanner) => scanner.tool)),
        Effect.flip(Identity.use((identity) => identity.verify(Redacted.make("a.b.c"))))
      ])
      for (const refusal of refusals) expect(refusal._tag).toMatch(/Unavailable|Unauthenticated/)
      expect(yield* Broker).toBeDefined()
      expect(yield* Database).toBeDefined()
      expect(yield* ReadDatabase).toBeDefined()
    }).pipe(Effect.provide(everything))
  )
})

describe("the download key", () => {
  const read = (env: Record<string, string>) => Effect.provide(downloadKey, Settings.fromEnv(env))
  const key = "k".repeat(32)

  it.live("is the variable, else the file's content", () =>
    Effect.gen(function* () {
      expect(Redacted.value(yield* read({ HOLDFAST_DOWNLOAD_KEY: key }))).toBe(key)
      const file = join(yield* dataDir, "download.key")
      yield* Effect.promise(() => writeFile(file, `${key}\n`))
      expect(Redacted.value(yield* read({ HOLDFAST_DOWNLOAD_KEY_FILE: file }))).toBe(key)
    })
  )

  it.live("that is missing or short is one sentence", () =>
    Effect.gen(function* () {
      const folder = yield* dataDir
      const missing = yield* Effect.flip(read({ HOLDFAST_DATA_DIR: folder }))
      expect(missing.message).toContain(`cannot be read from ${folder}/keys/download.key`)
      const file = join(folder, "download.key")
      yield* Effect.promise(() => writeFile(file, "short"))
      expect((yield* Effect.flip(read({ HOLDFAST_DOWNLOAD_KEY_FILE: file }))).message).toContain("shorter than 32")
    })
  )
})

describe("released content", () => {
  const sha256 = Sha256.make("a".repeat(64))
  const answering = Effect.acquireRelease(
    Effect.promise(async () => {
      const asked: Array<string> = []
      const server = createServer((request, response) => {
        asked.push(`${request.method} ${request.url} ${request.headers.authorization}`)
        response.writeHead(200, { "content-length": "42" }).end()
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const address = server.address()
      return { server, asked, port: address !== null && typeof address === "object" ? address.port : 0 }
    }),
    ({ server }) => Effect.sync(() => server.close().closeAllConnections())
  )
  const sizeBytes = (env: Record<string, string>, root = "") => {
    const layers = makeAdapters({ process: "test" })
      .released(root)
      .pipe(Layer.provide(environment(env)))
    return Released.use((store) => store.sizeBytes(sha256)).pipe(Effect.provide(layers))
  }

  it.live("lies on the disk where no URL says otherwise", () =>
    Effect.gen(function* () {
      const root = yield* dataDir
      yield* Effect.promise(() => mkdir(join(root, "aa"), { recursive: true }))
      yield* Effect.promise(() => writeFile(join(root, "aa", sha256), "seven b"))
      expect(yield* sizeBytes({}, root)).toBe(7)
    })
  )

  it.live("is asked of object storage where a URL names it, with the keys but without showing the secret one", () =>
    Effect.gen(function* () {
      const { asked, port } = yield* answering
      const size = yield* sizeBytes({
        HOLDFAST_STORAGE_URL: `s3://files@127.0.0.1:${port}/desk?tls=false&region=garage`,
        HOLDFAST_STORAGE_ACCESS_KEY: "the-access-key",
        HOLDFAST_STORAGE_SECRET_KEY: "the-secret-key"
      })
      expect(size).toBe(42)
      expect(asked[0]).toMatch(
        new RegExp(`^HEAD /files/desk/aa/${sha256} AWS4-HMAC-SHA256 Credential=the-access-key/\\d+/garage/s3/`)
      )
      expect(asked.join()).not.toContain("the-secret-key")
    })
  )

  it.live("without keys is no reason to start", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(sizeBytes({ HOLDFAST_STORAGE_URL: "s3://files@s3.example" }))
      expect(String(error)).toContain("HOLDFAST_STORAGE_ACCESS_KEY is not set")
    })
  )
})
