// What a release needs of a schema, so that the next one can be held to it: the statements that its processes ran, taken from the log of
// the database of a desk at work, and the shape of the tables that they ran on. `node test/upgrade/Record.ts <log> <release>` writes the
// first; the log is that of a desk on which `ALTER SYSTEM SET log_min_duration_statement = 0` was run before the tests of processes.
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export interface Shape {
  readonly columns: ReadonlyArray<Column>
  readonly rules: ReadonlyArray<Rule>
}

export interface Column {
  readonly table: string
  readonly name: string
  readonly type: string
  /** A release that does not know the column can still insert. */
  readonly mayBeLeftOut: boolean
}

/** What a row must obey: a key, a check, a reference, a unique index. */
export interface Rule {
  readonly table: string
  readonly says: string
}

export const shapeOf = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const columns = yield* sql<Column>`
    SELECT a.attrelid::regclass::text AS table, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
      (NOT a.attnotnull OR a.atthasdef) AS "mayBeLeftOut"
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
      AND c.relnamespace IN ('core'::regnamespace, 'read'::regnamespace)
    ORDER BY 1, 2`
  const rules = yield* sql<Rule>`
    SELECT conrelid::regclass::text AS table, pg_get_constraintdef(oid) AS says FROM pg_constraint
    WHERE connamespace IN ('core'::regnamespace, 'read'::regnamespace) AND conrelid <> 0 AND contype <> 'n'
    UNION ALL
    SELECT i.indrelid::regclass::text, 'UNIQUE INDEX ' || substring(pg_get_indexdef(i.indexrelid) FROM ' USING .*')
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indisunique AND c.relnamespace IN ('core'::regnamespace, 'read'::regnamespace)
      AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid)
    ORDER BY 1, 2`
  return { columns, rules } satisfies Shape
})

/** An entry begins with its time; the lines after it belong to it. */
export const statementsIn = (log: string): ReadonlyArray<string> => {
  const entries = log.split(/\n(?=\d{4}-\d\d-\d\d )/)
  const told = entries.flatMap((entry) => {
    const [, text = ""] = /LOG: {2}duration: [\d.]+ ms {2}(?:execute [^:]*|statement): ([\s\S]*)$/.exec(entry) ?? []
    const statement = text.replaceAll(/\s+/g, " ").trim()
    return /\b(core|read)\./.test(statement) && /\$\d/.test(statement) ? [statement] : []
  })
  return [...new Set(told)].toSorted()
}

const [log, release] = process.argv[1] === import.meta.filename ? process.argv.slice(2) : []
if (log !== undefined && release !== undefined) {
  const statements = statementsIn(readFileSync(log, "utf8"))
  writeFileSync(join(import.meta.dirname, release, "statements.json"), `${JSON.stringify(statements, null, 2)}\n`)
}
