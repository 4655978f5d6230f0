// What the database says of released files is what walking through the whole past says, for every question and wherever it is asked from.
import { assert, layer } from "@effect/vitest"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position, Sha256 } from "@holdfast/contracts/Ids"
import { commitPositioned } from "@holdfast/testkit/EventRows"
import { fullHistory, pipeline, principal } from "@holdfast/testkit/History"
import * as Model from "@holdfast/testkit/ReleasedFilesModel"
import { Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Database } from "../src/Database.ts"
import { ReleasedFiles } from "../src/ReleasedFiles.ts"
import { coreForTests } from "./CoreForTests.ts"

const past = (() => {
  const history = fullHistory()
  const owner = principal("customer", "erik", "Erik")
  const [ticketId, again] = [history.open(owner, "One"), history.open(owner, "Another")]
  const files = ["waits", "is idle", "is looked at", "was looked at"].map((name) => history.upload(owner, name))
  const [waits, ...released] = files
  for (const fileId of released) history.release(fileId)
  const [, looked, done] = released
  if (waits === undefined || looked === undefined || done === undefined) throw new Error("there are four")
  for (const fileId of [done, looked, done]) {
    history.issue(pipeline, { _tag: "RescanFile", fileId })
    if (fileId === done) history.rescan(fileId, { _tag: "Clean" })
  }
  history.issue(owner, { _tag: "AttachFile", ticketId, fileId: waits, name: "one.png" })
  history.issue(owner, { _tag: "AttachFile", ticketId: again, fileId: waits, name: "other.png" })
  return history.envelopes
})()

const write = (envelopes: ReadonlyArray<Envelope>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* commitPositioned(envelopes)
    for (const [fileId, state] of Model.filesOf(envelopes)) {
      const version = envelopes.filter(({ streamId }) => String(streamId) === fileId).length
      yield* sql`INSERT INTO core.aggregate (stream_id, stream_type, version, state)
        VALUES (${fileId}, 'file', ${version}, ${JSON.stringify(state)}::jsonb)`
    }
  })

layer(Layer.provideMerge(ReleasedFiles.layer, coreForTests), {
  excludeTestServices: true,
  timeout: Duration.seconds(30)
})("ReleasedFiles", (it) => {
  it.effect("answers as the whole past does", () =>
    Effect.gen(function* () {
      yield* Database.use((database) => database.run(write(past)))
      const asked = yield* ReleasedFiles
      const files = [...Model.filesOf(past).keys()]
      const last = past.length
      for (const position of [0, 1, last / 2, last - 3, last, Number.MAX_SAFE_INTEGER].map((at) => Math.floor(at))) {
        const from = Position.make(position)
        for (const count of [1, 100]) {
          assert.deepStrictEqual(yield* asked.rescans(from, count), Model.rescansIn(past, from, count))
          assert.deepStrictEqual(yield* asked.page(from, count), Model.pageIn(past, from, count))
        }
      }
      assert.strictEqual(yield* asked.pending(files), 1)
      for (const fileId of files) {
        assert.strictEqual(yield* asked.pending([fileId]), Model.pendingIn(past, [fileId]))
        assert.deepStrictEqual(yield* asked.attachments(fileId), Model.attachmentsIn(past, fileId))
      }
      for (const key of ["a", "b", "c"].map((digit) => Sha256.make(digit.repeat(64)))) {
        for (const before of [last / 2, last + 1].map((at) => Position.make(Math.floor(at)))) {
          assert.deepStrictEqual(new Set(yield* asked.giving(key, before)), new Set(Model.givingIn(past, key, before)))
        }
      }
      assert.strictEqual(yield* asked.pending([]), 0)
    })
  )
})
