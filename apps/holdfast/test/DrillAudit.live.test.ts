// The audit of a drill against a real database with fabricated rows: it finds nothing where nothing is wrong, and each wrong by itself.
import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Effect, Exit, type Redacted, Scope } from "effect"
import { type AuditFindings, audit, session } from "../src/drill/Audit.ts"
import { makeLedger, readLedger } from "../src/drill/Ledger.ts"

const root = mkdtempSync(join(tmpdir(), "holdfast-audit-"))
const scope = Scope.makeUnsafe()
const database = Effect.runPromise(Scope.provide(migratedDatabase, scope))
afterAll(async () => {
  rmSync(root, { recursive: true })
  await Effect.runPromise(Scope.close(scope, Exit.void))
})

const ids = Array.from({ length: 20 }, () => randomUUID())
const fileIds = Array.from({ length: 3 }, () => randomUUID())
const agent = "drill-agent-1"

/** Twenty tickets with an opening and a note each, three files with two events each; all of it positioned and in the views. */
const rows = `
  TRUNCATE core.command_receipt, core.event_log, core.aggregate, read.ticket, read.message, read.file;
  INSERT INTO core.command_receipt SELECT '${agent}', c, 'f', jsonb_build_object('version', v), now() + interval '1 day'
    FROM (SELECT id AS c, 1 AS v FROM fabricated UNION ALL SELECT note, 2 FROM fabricated) AS r;
  INSERT INTO core.event_log (event_id, stream_type, stream_id, stream_version, type, schema_version, data, principal, command_id,
    correlation_id, visibility, occurred_at, position)
    SELECT gen_random_uuid(), 'ticket', id, v, t, 1, '{}', '{}', c, id, jsonb_build_object('audience', a, 'requesterId', 'drill-customer-1'), now(),
      row_number() OVER (ORDER BY n, v)
    FROM (SELECT id, n, 1 AS v, 'TicketOpened' AS t, id AS c, 'public' AS a FROM fabricated
      UNION ALL SELECT id, n, 2, 'NoteAdded', note, 'internal' FROM fabricated) AS e;
  INSERT INTO core.aggregate SELECT id, 'ticket', 2, '{}' FROM fabricated;
  INSERT INTO read.ticket SELECT id, 2, n, 'new', 'r', NULL, 0, 0, '', '{}' FROM fabricated;
  INSERT INTO read.message SELECT id, id, 1, 'public', 'r', ''::tsvector, '{}'::jsonb FROM fabricated UNION ALL SELECT note, id, 2, 'internal', 'r', ''::tsvector, '{}' FROM fabricated;
  INSERT INTO core.event_log (event_id, stream_type, stream_id, stream_version, type, schema_version, data, principal, command_id,
    correlation_id, visibility, occurred_at, position)
    SELECT gen_random_uuid(), 'file', id, v, t, 1, jsonb_build_object('sha256', 'hash', 'sizeBytes', 7), '{}', gen_random_uuid(), id, '{}', now(), 40 + row_number() OVER (ORDER BY id, v)
    FROM fabricated_file, (VALUES (1, 'FileReceived'), (2, 'FileReleased')) AS s(v, t);
  INSERT INTO core.aggregate SELECT id, 'file', 2, '{}' FROM fabricated_file;
  INSERT INTO read.file SELECT id, 2, 'o', NULL, 'released', '{}' FROM fabricated_file;
  UPDATE read.projection_state SET position = 46 WHERE group_name = 'views'`

const fabricate = Effect.fnUntraced(function* (url: Redacted.Redacted<string>, folder: string, corruption: string) {
  const notes = ids.map(() => randomUUID())
  const ask = yield* session(url)
  yield* ask("CREATE TEMP TABLE fabricated (n int, id uuid, note uuid)")
  yield* ask(
    "INSERT INTO fabricated SELECT ordinality, id::uuid, note::uuid FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS f(id, note)",
    [ids, notes]
  )
  yield* ask("CREATE TEMP TABLE fabricated_file AS SELECT unnest($1::text[])::uuid AS id", [fileIds])
  for (const statement of [...rows.split(";"), ...corruption.split(";")]) {
    if (statement.trim() !== "") yield* ask(statement)
  }
  const ledger = yield* makeLedger(folder)
  for (const [index, id] of ids.entries()) {
    const told = { principalId: agent, streamId: id, told: "done" } as const
    ledger.command({ ...told, commandId: id, kind: "OpenTicket", version: 1 })
    ledger.command({ ...told, commandId: notes[index] ?? "", kind: "AddNote", version: 2, told: "unknown" })
    ledger.command({ ...told, commandId: notes[index] ?? "", kind: "AddNote", version: 2 })
  }
  ledger.command({
    commandId: randomUUID(),
    kind: "AddNote",
    principalId: agent,
    streamId: ids[0] ?? "",
    told: "refused",
    version: 0
  })
  for (const fileId of fileIds) ledger.upload({ fileId, sha256: "hash", sizeBytes: 7, told: "accepted" })
  ledger.feed({ number: 1, after: 0 })
  ledger.feed({ number: 2, after: 0, ticketId: ids[0] ?? "" })
  ledger.feed({ number: 3, after: 2, customerId: "drill-customer-1" })
  for (let position = 1; position <= 40; position++) {
    ledger.position(1, position)
    if (position <= 2) ledger.position(2, position)
    if (position > 2 && position % 2 === 1) ledger.position(3, position)
  }
  ledger.flush()
  return yield* audit({ databaseUrl: url, readDatabaseUrl: url }, readLedger(folder), 0)
})

const auditedAfter = (corruption: string) =>
  Effect.gen(function* () {
    const url = yield* Effect.promise(() => database)
    return yield* fabricate(url, join(root, randomUUID()), corruption)
  }).pipe(Effect.scoped)

/** The names of what was found, with how often. */
const wrongs = ({ commands, feeds, log, uploads, views }: AuditFindings): Readonly<Record<string, number>> => {
  const uploaded = Object.entries(uploads).map(([name, value]) => [`${name} upload`, value] as const)
  const counts = [...Object.entries({ ...commands, ...log, ...views }), ...uploaded].flatMap(([name, value]) => {
    const isFigure = ["acknowledged", "events", "accepted upload"].includes(name)
    return isFigure ? [] : [[name, typeof value === "number" ? value : value.count] as const]
  })
  const ofFeeds = feeds.flatMap(({ doubled, missing, reordered, terms, unexpected }) => [
    [`feed ${terms.number}`, doubled + missing + reordered + unexpected] as const
  ])
  return Object.fromEntries([...counts, ...ofFeeds].filter(([, count]) => count > 0))
}

const note = (n: number) => `command_id = (SELECT note FROM fabricated WHERE n = ${n})`
const ticket = (n: number) => `(SELECT id FROM fabricated WHERE n = ${n})`

describe("the audit of a drill", { timeout: 180_000 }, () => {
  it.live("finds nothing where nothing is wrong", () =>
    Effect.gen(function* () {
      const found = yield* auditedAfter("")
      assert.deepStrictEqual(wrongs(found), {})
      assert.deepStrictEqual([found.commands.acknowledged, found.log.events, found.uploads.accepted], [40, 46, 3])
      assert.deepStrictEqual(
        found.feeds.map(({ expected, received }) => [expected, received]),
        [
          [40, 40],
          [2, 2],
          [19, 19]
        ]
      )
    })
  )

  it.live.each<[string, string, Readonly<Record<string, number>>]>([
    [
      "an acknowledged command that is gone",
      `DELETE FROM core.command_receipt WHERE ${note(20)}; DELETE FROM core.event_log WHERE ${note(20)}; UPDATE core.aggregate SET version = 1 WHERE stream_id = ${ticket(20)}; UPDATE read.ticket SET version = 1 WHERE id = ${ticket(20)}; UPDATE core.event_log SET position = position - 1 WHERE position > 40; UPDATE read.projection_state SET position = 45`,
      { lost: 1, "feed 1": 1 }
    ],
    [
      "a receipt without its event",
      `UPDATE core.event_log SET command_id = gen_random_uuid() WHERE ${note(3)}`,
      { lost: 1 }
    ],
    [
      "a command that was applied twice",
      `UPDATE core.event_log SET command_id = ${ticket(4)}, type = 'TicketOpened' WHERE ${note(4)}; UPDATE core.command_receipt SET answer = '{"version": 2}' WHERE command_id = ${ticket(4)}`,
      { doubled: 1, lost: 1, misquoted: 1 }
    ],
    [
      "a gap in the positions",
      "UPDATE core.event_log SET position = 47 WHERE position = 46; UPDATE read.projection_state SET position = 47",
      { gaps: 1 }
    ],
    [
      "an event without a position",
      "UPDATE core.event_log SET position = NULL WHERE position = 46",
      { unpositioned: 1 }
    ],
    [
      "positions against their stream's order",
      "UPDATE core.event_log SET position = 100 WHERE position = 5; UPDATE core.event_log SET position = 5 WHERE position = 6; UPDATE core.event_log SET position = 6 WHERE position = 100",
      { reordered: 1, "feed 3": 2 }
    ],
    [
      "a version that is missing in a stream",
      `UPDATE core.event_log SET stream_version = 3 WHERE ${note(6)}; UPDATE core.command_receipt SET answer = '{"version": 3}' WHERE ${note(6)}`,
      { gapped: 1, misquoted: 1 }
    ],
    ["views that are behind", "UPDATE read.projection_state SET position = 40", { behind: 6 }],
    [
      "a view that is not what the log says",
      `UPDATE read.ticket SET version = 1 WHERE id = ${ticket(7)}`,
      { differing: 1 }
    ],
    [
      "a message that nobody can read",
      `DELETE FROM read.message WHERE id = (SELECT note FROM fabricated WHERE n = 8)`,
      { missing: 1 }
    ],
    [
      "an upload with other content",
      `UPDATE core.event_log SET data = '{"sha256": "other", "sizeBytes": 7}' WHERE position = 41`,
      { "wrongContent upload": 1 }
    ],
    [
      "an upload that was never finished",
      `UPDATE core.event_log SET type = 'FileScanned' WHERE position = 42`,
      { "unfinished upload": 1 }
    ],
    [
      "an event that a subscriber should not have had",
      `UPDATE core.event_log SET visibility = '{"audience": "internal"}' WHERE position = 9`,
      { "feed 3": 1 }
    ]
  ])("finds %s", ([, corruption, expected]) =>
    Effect.map(auditedAfter(corruption), (found) => assert.deepStrictEqual(wrongs(found), expected))
  )
})
