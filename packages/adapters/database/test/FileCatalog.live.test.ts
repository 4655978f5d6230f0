// Every file is told once, page by page, whatever else there is between them.
import { createHash } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import type { Attachment } from "@holdfast/domain/attachment/Attachment"
import { FileCatalog as Limits } from "@holdfast/resilience/Limits"
import { uuid } from "@holdfast/testkit/History"
import { Duration, Effect, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { Database } from "../src/Database.ts"
import { FileCatalog } from "../src/FileCatalog.ts"
import { coreForTests } from "./CoreForTests.ts"

const attachment = (index: number): Attachment => ({
  fileId: FileId.make(uuid(index)),
  ownerId: PrincipalId.make("ada"),
  sha256: Sha256.make(createHash("sha256").update(String(index)).digest("hex")),
  sizeBytes: index,
  declaredType: "text/plain",
  mediaType: null,
  derivatives: [],
  state: "received",
  parkedAt: null
})

const run = <A, E>(effect: Effect.Effect<A, E, SqlClient.SqlClient>) =>
  Database.use((database) => Effect.orDie(database.run(effect)))

const aggregate = (index: number, type: "file" | "ticket", state: unknown) =>
  run(
    SqlClient.SqlClient.use(
      (sql) => sql`INSERT INTO core.aggregate (stream_id, stream_type, version, state)
        VALUES (${uuid(index)}, ${type}, 1, ${JSON.stringify(state)}::jsonb)`
    )
  )

const tickets = (from: number, count: number) =>
  run(
    SqlClient.SqlClient.use(
      (sql) => sql`INSERT INTO core.aggregate (stream_id, stream_type, version, state)
        SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'ticket', 1, '{}'::jsonb
        FROM generate_series(${from}::int, ${from + count - 1}::int) AS n`
    )
  )

layer(Layer.provideMerge(FileCatalog.layer, coreForTests), {
  excludeTestServices: true,
  timeout: Duration.seconds(30)
})("FileCatalog", (it) => {
  it.effect("tells every file once, and when it last changed", () =>
    Effect.gen(function* () {
      const catalog = yield* FileCatalog
      const files = [1, Limits.pageRowsMax, Limits.pageRowsMax * 2 + 5]
      for (const index of files) yield* aggregate(index, "file", attachment(index))
      yield* tickets(2, Limits.pageRowsMax - 2)
      yield* tickets(Limits.pageRowsMax + 1, Limits.pageRowsMax)
      yield* run(
        SqlClient.SqlClient.use(
          (
            sql
          ) => sql`INSERT INTO core.event_log (event_id, stream_type, stream_id, stream_version, type, schema_version, data, principal,
              command_id, correlation_id, visibility, occurred_at)
            VALUES (${uuid(9_000_001)}, 'file', ${uuid(1)}, 1, 'FileReceived', 1, '{}', '{}', ${uuid(9_000_002)}, ${uuid(9_000_003)}, '{}',
              '2026-01-05T08:00:00.123Z')`
        )
      )
      const pages = yield* Stream.runCollect(catalog.pages)
      const told = pages.flatMap((page) => page.files)
      assert.deepStrictEqual(
        told.map(({ attachment }) => attachment.sizeBytes),
        files
      )
      assert.deepStrictEqual(told[0]?.changedAtMs, Date.UTC(2026, 0, 5, 8, 0, 0, 123))
      assert.deepStrictEqual(
        pages.reduce((sum, { lookedAt }) => sum + lookedAt, 0),
        Limits.pageRowsMax * 2 + 1
      )
      const found = yield* catalog.find([1, 2, 3_000_000].map((index) => FileId.make(uuid(index))))
      assert.deepStrictEqual(
        found.map((file) => file.attachment),
        [attachment(1)]
      )
      assert.isAtLeast(yield* catalog.estimate, 0)
      const counts = (yield* Stream.runCollect(catalog.counts)).flat()
      assert.deepStrictEqual(
        counts.map(({ bytes, files, state }) => [state, files, bytes]),
        [
          ["received", 2, 1 + Limits.pageRowsMax],
          ["received", 1, Limits.pageRowsMax * 2 + 5]
        ]
      )
      assert.isAbove(counts[0]?.oldestMs ?? 0, 0)
      assert.deepStrictEqual(counts[1]?.oldestMs, 0)
    })
  )
})
