// What the doctor says of object storage: that it can be used, or what to do.
import { readdirSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import { Settings as ProcessSettings } from "@holdfast/process/Config"
import { Effect, Option } from "effect"
import { startS3Server } from "../../../packages/adapters/storage/test/S3Server.ts"
import { checkObjectStorage } from "../src/cli/ObjectStorage.ts"

const keys = { HOLDFAST_STORAGE_ACCESS_KEY: "S3RVER", HOLDFAST_STORAGE_SECRET_KEY: "S3RVER" }

const findingOf = (env: Readonly<Record<string, string>>) =>
  Effect.gen(function* () {
    const settings = yield* ProcessSettings
    const rest = { postgresPort: Option.none(), ownTokens: true, copies: 1, drillable: false }
    return yield* checkObjectStorage({ ...settings, ...rest })
  }).pipe(Effect.provide(ProcessSettings.fromEnv(env)))

const toldAt = (port: number, env: Readonly<Record<string, string>> = keys, bucket = "holdfast") =>
  findingOf({ HOLDFAST_STORAGE_URL: `s3://${bucket}@127.0.0.1:${port}/desk?tls=false`, ...env })

/** Answers everything with this. */
const answering = (status: number, code: string) =>
  Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<{ readonly port: number; readonly close: () => void }>((resolve) => {
          const server = createServer((_, response) =>
            response.writeHead(status).end(`<Error><Code>${code}</Code></Error>`)
          )
          server.listen(0, "127.0.0.1", () => {
            const { port } = server.address() as AddressInfo
            resolve({ port, close: () => void server.close().closeAllConnections() })
          })
        })
    ),
    ({ close }) => Effect.sync(close)
  )

describe("the doctor", () => {
  it.live("says that a bucket can be used, and leaves nothing in it", () =>
    Effect.gen(function* () {
      const { directory, port } = yield* startS3Server()
      const well = {
        what: "object storage",
        well: true,
        told: expect.stringContaining("lists, takes, gives and removes")
      }
      expect(yield* toldAt(port)).toEqual(well)
      const left = readdirSync(directory, { recursive: true, encoding: "utf8" })
      expect(left.filter((name) => /doctor.+object/.test(name))).toEqual([])
      expect(yield* toldAt(port, keys, "another")).toMatchObject({
        well: false,
        told: expect.stringContaining("bucket")
      })
      const wrong = yield* toldAt(port, { ...keys, HOLDFAST_STORAGE_SECRET_KEY: "wrong" })
      expect(wrong).toMatchObject({ well: false, told: expect.stringContaining("correct HOLDFAST_STORAGE_ACCESS_KEY") })
    })
  )

  it.live("needs nothing where the disk is used, and says which key is missing", () =>
    Effect.gen(function* () {
      expect(yield* findingOf({})).toMatchObject({ well: true, told: expect.stringContaining("on the disk") })
      const told = expect.stringContaining("HOLDFAST_STORAGE_ACCESS_KEY is not set")
      expect(yield* toldAt(1, {})).toMatchObject({ well: false, told })
      expect(yield* toldAt(1)).toMatchObject({ well: false, told: expect.stringContaining("cannot be reached") })
    })
  )

  it.live.each([
    [403, "AccessDenied", "allow these keys"],
    [403, "RequestTimeTooSkewed", "clock"],
    [400, "AuthorizationHeaderMalformed", "region"],
    [503, "SlowDown", "see its log"]
  ] as const)("says what to do about %s %s", ([status, code, told]) =>
    Effect.gen(function* () {
      const { port } = yield* answering(status, code)
      expect(yield* toldAt(port)).toMatchObject({ well: false, told: expect.stringContaining(told) })
    })
  )
})
