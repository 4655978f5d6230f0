// The embedded cache under the contract, and what only a file can do: be shared by processes and outlive them.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Health } from "@holdfast/resilience/Health"
import { Effect, Layer } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import { Cache } from "../src/Cache.ts"
import * as CacheEmbedded from "../src/CacheEmbedded.ts"
import { contract } from "./CacheContract.ts"

const folder = mkdtempSync(join(tmpdir(), "holdfast-cache-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const onFile = (file: string) =>
  Layer.fresh(CacheEmbedded.layer({ file: join(folder, file) })).pipe(Layer.provide(Health.layer))

contract("embedded", onFile("a/contract.sqlite"))

const document = {
  key: "ticket/1",
  version: 1,
  body: "{}",
  score: 1,
  lists: [],
  words: { public: [], internal: [] }
} as const

describe("a cache file", () => {
  it("is there for the next process", async () => {
    const put = Cache.use((cache) => cache.put([document])).pipe(Effect.provide(onFile("kept.sqlite")))
    const get = Cache.use((cache) => cache.getMany(["ticket/1"])).pipe(Effect.provide(onFile("kept.sqlite")))
    await Effect.runPromise(put)
    expect((await Effect.runPromise(get))[0]?.version).toBe(1)
  })

  it("is shared by two that are open at once", async () => {
    const both = Effect.gen(function* () {
      const one = yield* Effect.provide(Cache, yield* Layer.build(onFile("shared.sqlite")))
      const other = yield* Effect.provide(Cache, yield* Layer.build(onFile("shared.sqlite")))
      yield* Effect.all([one.put([document]), other.put([{ ...document, version: 2 }])], { concurrency: 2 })
      return [...(yield* one.getMany(["ticket/1"])), ...(yield* other.getMany(["ticket/1"]))]
    })
    const versions = await Effect.runPromise(Effect.scoped(both))
    expect(versions.map((one) => one?.version)).toEqual([2, 2])
  })

  it("that cannot be opened is an unavailable cache, not a crash", async () => {
    writeFileSync(join(folder, "damaged.sqlite"), "this is no database, however long it goes on and on".repeat(100))
    const get = Cache.use((cache) => cache.getMany(["ticket/1"])).pipe(Effect.provide(onFile("damaged.sqlite")))
    expect(await Effect.runPromise(Effect.flip(get))).toMatchObject({ _tag: "Unavailable", dependency: "cache" })
  })
})
