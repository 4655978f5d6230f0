// What queries.bench.ts measures against, each on the port that it is given: no token, no bounds, no fallback. `raw` serialises the answer
// that the desk gave, `graphql-js` parses, validates and executes the document on it each time, and `raw-sql` asks PostgreSQL for the
// page in every request, with the desk's client and a pool of the desk's size, and serialises what it gets.
import { createServer, type IncomingMessage } from "node:http"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { ManagedRuntime, Redacted } from "effect"
import { buildSchema, graphql } from "graphql"

export interface RivalOrder {
  readonly kind: "raw" | "raw-sql" | "graphql-js"
  readonly port: number
  readonly answer: { readonly data: Readonly<Record<string, unknown>> }
  readonly sdl: string
  readonly databaseUrl: string
}

const bodyOf = async (request: IncomingMessage): Promise<{ readonly query: string }> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk)
  return JSON.parse(Buffer.concat(chunks).toString())
}

interface TicketRow {
  readonly ticket: Readonly<Record<"id" | "number" | "subject" | "status" | "priority" | "updatedAt", string>> & {
    readonly requester: Readonly<Record<"id" | "name" | "email", string>>
    readonly assigneeId: string | null
  }
  readonly name: string | null
  readonly email: string | null
  readonly position: number
  readonly as_of_ms: number
}

const pageSize = 20

const fromDatabase = (databaseUrl: string) => {
  const runtime = ManagedRuntime.make(
    ClientPostgres.layerRead({ url: Redacted.make(databaseUrl), applicationName: "bench" })
  )
  const statement = ClientPostgres.ReadClient.use(
    (sql) => sql<TicketRow>`
      SELECT s.position::float8 AS position, s.as_of_ms::float8 AS as_of_ms, page.*
      FROM read.projection_state s LEFT JOIN LATERAL (
        SELECT t.doc AS ticket, p.name, p.email
        FROM (SELECT * FROM read.ticket ORDER BY updated_ms DESC, id DESC LIMIT ${pageSize + 1}) t
          LEFT JOIN read.person p ON p.id = t.assignee_id
        ORDER BY t.updated_ms DESC, t.id DESC
      ) page ON true
      WHERE s.group_name = 'views'`
  )
  return async () => answerOf(await runtime.runPromise(statement))
}

const answerOf = (rows: ReadonlyArray<TicketRow>) => {
  const edges = rows.slice(0, pageSize).map(({ email, name, ticket }) => {
    const { id, number, priority, requester, status, subject, updatedAt } = ticket
    const assignee = ticket.assigneeId === null ? null : { id: ticket.assigneeId, name, email }
    return { node: { id, number, subject, status, priority, updatedAt, requester, assignee } }
  })
  const endCursor = edges.at(-1)?.node.id
  const [state] = rows
  return {
    data: { tickets: { edges, pageInfo: { hasNextPage: rows.length > pageSize, endCursor } } },
    extensions: { freshness: { source: "live", asOf: state?.as_of_ms, position: state?.position } }
  }
}

const answering = ({ answer, databaseUrl, kind, sdl }: RivalOrder): ((query: string) => unknown) => {
  if (kind === "raw") return () => answer
  if (kind === "raw-sql") return fromDatabase(databaseUrl)
  const schema = buildSchema(sdl)
  return (source) => graphql({ schema, source, rootValue: answer.data })
}

process.once("message", (order: RivalOrder) => {
  const tell = answering(order)
  const server = createServer(async (request, response) => {
    const { query } = await bodyOf(request)
    const text = JSON.stringify(await tell(query))
    response.writeHead(200, {
      "content-type": "application/json; charset=utf-8",
      "content-length": Buffer.byteLength(text)
    })
    response.end(text)
  })
  server.listen(order.port, "127.0.0.1", () => process.send?.("listening"))
})
