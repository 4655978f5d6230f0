// What a sweep of stored content is told: every content that some file still needs, whatever else the other files have come to.
import { createHash } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { Sha256 } from "@holdfast/contracts/Ids"
import { uuid } from "@holdfast/testkit/History"
import { Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Database } from "../src/Database.ts"
import { FileReferences } from "../src/FileReferences.ts"
import { coreForTests } from "./CoreForTests.ts"

const keyOf = (name: string) => Sha256.make(createHash("sha256").update(name).digest("hex"))

let files = 0
const file = (state: string, name: string, made: ReadonlyArray<string> = []) =>
  Database.use((database) =>
    database.run(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const stored = { state, sha256: keyOf(name), derivatives: made.map((one) => ({ sha256: keyOf(one) })) }
        yield* sql`INSERT INTO core.aggregate (stream_id, stream_type, version, state)
          VALUES (${uuid(700_000 + files++)}, 'file', 1, ${JSON.stringify(stored)}::jsonb)`
      })
    )
  )

const asked = ["waits", "made", "released", "rejected", "withdrawn", "parked", "both", "unheard-of"]
const sorted = (keys: Iterable<string>) => [...keys].sort()

layer(Layer.provideMerge(FileReferences.layer, coreForTests), {
  excludeTestServices: true,
  timeout: Duration.seconds(30)
})("FileReferences", (it) => {
  it.effect("names what files need, and not what none needs any more", () =>
    Effect.gen(function* () {
      yield* file("identified", "waits")
      yield* file("converted", "waits too", ["made"])
      yield* file("released", "released")
      yield* file("rejected", "rejected", ["made of what was rejected"])
      yield* file("withdrawn", "withdrawn")
      yield* file("parked", "parked")
      yield* file("rejected", "both")
      yield* file("released", "both")
      const references = yield* FileReferences
      const keys = asked.map(keyOf)
      assert.deepStrictEqual(sorted(yield* references.waiting(keys)), sorted(["waits", "made", "parked"].map(keyOf)))
      const kept = ["waits", "made", "released", "parked", "both"]
      assert.deepStrictEqual(sorted(yield* references.kept(keys)), sorted(kept.map(keyOf)))
      assert.deepStrictEqual(sorted(yield* references.kept([])), [])
    })
  )
})
