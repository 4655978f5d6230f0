// GraphQL over HTTP as a client on the wire meets it: the public audits of the specification, who may ask, and what is refused before it
// is read.
import { Agent, createServer, request } from "node:http"
import type { AddressInfo } from "node:net"
import { Unauthenticated } from "@holdfast/contracts/CommandErrors"
import { Identity } from "@holdfast/identity/Identity"
import { Queries } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { fullHistory, principal } from "@holdfast/testkit/History"
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import { auditServer, serverAudits } from "graphql-http"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { makeHandler, takeRequests } from "../src/http/GraphqlHttp.ts"
import { startDesk } from "./Desk.ts"

const identity = Layer.succeed(Identity, {
  verify: (token) => {
    const text = Redacted.value(token)
    if (text === "away")
      return Effect.fail(
        new Unavailable({ dependency: "identity", reason: "unreachable", retryAfterMs: 1500, detail: "away" })
      )
    if (text !== "agent" && text !== "customer") return Effect.fail(new Unauthenticated({ detail: "unknown" }))
    return Effect.succeed({ principal: principal(text, text), expiresAtSeconds: 4_000_000_000 })
  }
})

const start = async () => {
  const desk = await startDesk(fullHistory().envelopes)
  const runtime = ManagedRuntime.make(Layer.merge(desk.executor, identity))
  const handler = await runtime.runPromise(makeHandler({ allowedOrigins: ["https://desk.test"] }))
  const server = createServer()
  takeRequests(server, "/graphql", handler)
  server.on("request", (_, response) => response.writeHead(404).end("elsewhere"))
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening))
  const { port } = server.address() as AddressInfo
  const stop = async () => {
    server.closeAllConnections()
    server.close()
    await runtime.dispose()
    await desk.stop()
  }
  return { url: `http://127.0.0.1:${port}/graphql`, base: `http://127.0.0.1:${port}`, stop }
}

let served: Awaited<ReturnType<typeof start>>
beforeAll(async () => {
  served = await start()
})
afterAll(() => served.stop())

const agent = { authorization: "Bearer agent" }
const withToken = (url: string, init: RequestInit = {}) =>
  fetch(url, { ...init, headers: { ...agent, ...init.headers } })
const post = (body: string, headers: Record<string, string> = {}) =>
  fetch(served.url, { method: "POST", body, headers: { ...agent, "content-type": "application/json", ...headers } })

describe("GraphQL over HTTP", () => {
  it("passes every server audit of the specification", async () => {
    const options = { url: served.url, fetchFn: withToken }
    expect(serverAudits(options)).toHaveLength(61)
    const results = await auditServer(options)
    const failed = results
      .filter((result) => result.status !== "ok")
      .map(({ id, name, status }) => `${status} ${id} ${name}`)
    expect(failed).toEqual([])
  })

  it("wants a token for everything", async () => {
    for (const headers of [{}, { authorization: "Bearer nobody" }, { authorization: "Basic x" }]) {
      const response = await fetch(`${served.url}?query={__typename}`, { headers })
      expect(response.status).toBe(401)
      expect(response.headers.get("www-authenticate")).toBe("Bearer")
      expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: "UNAUTHENTICATED" } }] })
    }
  })

  it("says when to come again while keys cannot be had", async () => {
    const response = await fetch(`${served.url}?query={__typename}`, { headers: { authorization: "bearer away" } })
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "2"])
  })

  it("refuses what it does not read: other methods, types and sizes", async () => {
    expect((await fetch(served.url, { method: "PUT", headers: agent })).status).toBe(405)
    expect((await post("{}", { "content-type": "text/plain" })).status).toBe(415)
    expect((await post("{}", { "content-type": "application/json; charset=latin1" })).status).toBe(415)
    expect((await post("{}", { accept: "text/html" })).status).toBe(406)
    expect((await post(JSON.stringify({ query: "x".repeat(70_000) }))).status).toBe(413)
  })

  it("answers by the client's order of preference", async () => {
    const typeFor = async (accept: string) =>
      (await post(`{"query":"{ me { id } }"}`, { accept })).headers.get("content-type")
    expect(await typeFor("application/json;q=0.5, application/graphql-response+json")).toMatch("graphql-response")
    expect(await typeFor("application/json, application/graphql-response+json;q=0.9")).toMatch("application/json")
    expect(await typeFor("text/html, */*;q=0.1")).toMatch("application/json")
  })

  it("lets pages of known origins read answers, and no others", async () => {
    const allowed = async (origin: string) =>
      (await post(`{"query":"{ me { id } }"}`, { origin })).headers.get("access-control-allow-origin")
    expect(await allowed("https://desk.test")).toBe("https://desk.test")
    expect(await allowed("https://evil.test")).toBeNull()
  })

  it("refuses at once beyond the bound of requests under way, says when to come again, and answers other paths", async () => {
    // Each has said that it asks something and then says nothing more.
    const agentOfMany = new Agent({ maxSockets: Number.POSITIVE_INFINITY })
    const held = Array.from({ length: Queries.underWayMax }, () => {
      const asking = request(served.url, {
        method: "POST",
        agent: agentOfMany,
        headers: { ...agent, "content-type": "application/json", "content-length": 100 }
      })
      asking.on("error", () => {})
      asking.flushHeaders()
      return asking
    })
    const question = () => post(`{"query":"{ me { id } }"}`)
    const until = async (status: number) => {
      for (;;) {
        const answer = await question()
        if (answer.status === status) return answer
      }
    }
    const refused = await until(503)
    expect(refused.headers.get("retry-after")).toBe("1")
    expect(await refused.json()).toMatchObject({ errors: [{ extensions: { code: "READ_UNAVAILABLE" } }] })
    expect(await (await fetch(`${served.base}/health/ready`)).text()).toBe("elsewhere")
    for (const asking of held) asking.destroy()
    expect(await (await until(200)).json()).toEqual({ data: { me: { id: "agent" } }, extensions: expect.anything() })
  })

  it("leaves every other path to the other listeners", async () => {
    expect(await (await fetch(`${served.base}/graphqlx`)).text()).toBe("elsewhere")
  })

  it("answers many at once, each its own question", async () => {
    const bodies = Array.from({ length: 200 }, (_, n) =>
      JSON.stringify({ query: `{ x${n}: me { id } tickets(list: all) { totalCount } }` })
    )
    const answers = await Promise.all(bodies.map(async (body) => (await post(body)).json()))
    expect(answers).toMatchObject(
      bodies.map((_, n) => ({ data: { [`x${n}`]: { id: "agent" }, tickets: { totalCount: 2 } } }))
    )
  })
})
