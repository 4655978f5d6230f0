// What queries.bench.ts measures against, each on the port that it is given, with the answer that the desk gave as its data and nothing
// else to do: no token, no database, no bounds. `raw` serialises it; `graphql-js` parses, validates and executes the document each time.
import { createServer, type IncomingMessage } from "node:http"
import { buildSchema, graphql } from "graphql"

export interface RivalOrder {
  readonly kind: "raw" | "graphql-js"
  readonly port: number
  readonly answer: { readonly data: Readonly<Record<string, unknown>> }
  readonly sdl: string
}

const bodyOf = async (request: IncomingMessage): Promise<{ readonly query: string }> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk)
  return JSON.parse(Buffer.concat(chunks).toString())
}

process.once("message", ({ answer, kind, port, sdl }: RivalOrder) => {
  const schema = kind === "raw" ? null : buildSchema(sdl)
  const server = createServer(async (request, response) => {
    const { query } = await bodyOf(request)
    const told = schema === null ? answer : await graphql({ schema, source: query, rootValue: answer.data })
    const text = JSON.stringify(told)
    response.writeHead(200, {
      "content-type": "application/json; charset=utf-8",
      "content-length": Buffer.byteLength(text)
    })
    response.end(text)
  })
  server.listen(port, "127.0.0.1", () => process.send?.("listening"))
})
