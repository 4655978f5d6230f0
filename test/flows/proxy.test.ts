// The proxy of the DMZ as it is shipped, in the real HAProxy: what its clients can say to those behind it, and a whole desk behind it, where a
// flood of uploads takes nothing from anybody who reads and writes.
import { spawnSync } from "node:child_process"
import { randomBytes, randomUUIDv7 } from "node:crypto"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { createServer, type IncomingMessage, type Server } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TLSSocket } from "node:tls"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { issueToken } from "@holdfast/identity/Tokens"
import { Duration, Effect, Redacted } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { command, downloaded, feedUntil, query, until, uploadWithCuts } from "./Clients.ts"
import { type Desk, startDesk } from "./Desk.ts"
import {
  type Behind,
  configuration,
  environment,
  haproxy,
  makeCertificate,
  type Proxy,
  rawConnection,
  startProxy
} from "./Proxy.ts"

const everywhere = (address: string): Behind => ({
  ...{ command: address, grpc: address, query: address, realtime: address, file: address }
})

const answerOf = async (socket: TLSSocket, pattern: RegExp): Promise<string> => {
  let text = ""
  for await (const chunk of socket) {
    text += String(chunk)
    if (pattern.test(text)) break
  }
  return text
}

describe("the shipped configuration", () => {
  it("is one that HAProxy takes, without a warning", async () => {
    const folder = await mkdtemp(join(tmpdir(), "holdfast-proxy-"))
    const { both } = await makeCertificate(folder)
    const env = environment(everywhere("127.0.0.1:1"), both, 1, 2)
    const { status, stderr } = spawnSync(haproxy(), ["-c", "-f", configuration], { env, encoding: "utf8" })
    await rm(folder, { recursive: true, force: true })
    expect(stderr).not.toMatch(/WARNING|ALERT/)
    expect(status).toBe(0)
  })
})

describe("behind the proxy", () => {
  let server: Server
  let proxy: Proxy
  const seen: Array<Pick<IncomingMessage, "method" | "url" | "headers">> = []

  beforeAll(async () => {
    server = createServer(({ headers, method, url }, response) => {
      if (url?.startsWith("/health/") !== true) seen.push({ method, url, headers })
      response.end("from behind")
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    const address = server.address()
    if (address === null || typeof address === "string") throw new Error("the server listens on no port")
    proxy = await startProxy(everywhere(`127.0.0.1:${address.port}`))
    for (const place of [`${proxy.controlPort}/`, `${proxy.bulkPort}/files/`]) {
      await until("the proxy serves", async () => ((await fetch(`https://127.0.0.1:${place}`)).ok ? true : null))
    }
  })
  afterAll(async () => {
    await proxy?.stop()
    server.closeAllConnections()
    server.close()
  })

  it("nobody hears what a client says of its own way: the address is the one it has", async () => {
    seen.length = 0
    const said = { "x-forwarded-for": "203.0.113.9", forwarded: "for=203.0.113.9", "x-real-ip": "203.0.113.9" }
    const more = { "x-forwarded-proto": "http", "x-forwarded-host": "elsewhere.example" }
    const headers = { ...said, ...more }
    expect((await fetch(`https://127.0.0.1:${proxy.controlPort}/`, { headers })).status).toBe(200)
    expect((await fetch(`https://127.0.0.1:${proxy.bulkPort}/files/`, { headers })).status).toBe(200)
    for (const one of seen) {
      expect(one.headers).toMatchObject({ "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https" })
      for (const name of ["forwarded", "x-real-ip", "x-forwarded-host"]) expect(one.headers).not.toHaveProperty(name)
    }
    expect(seen).toHaveLength(2)
  })

  it("a request that two readers could end at two places is one request, or none", async () => {
    const smuggled = "GET /metrics HTTP/1.1\r\nHost: desk\r\n\r\n"
    const head = "POST /v1/tickets HTTP/1.1\r\nHost: desk\r\n"
    const both = `${head}Content-Length: ${smuggled.length + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`
    const ambiguous = [
      both,
      `${head}Content-Length: 0\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
      `${head}Transfer-Encoding: chunked, identity\r\nContent-Length: 0\r\n\r\n${smuggled}`,
      `${head}Transfer_Encoding: chunked\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
      `${head}Content-Length: +0\r\n\r\n${smuggled}`
    ]
    seen.length = 0
    for (const text of ambiguous) {
      const socket = await rawConnection(proxy.controlPort)
      socket.write(text.replace(head, `${head}Connection: close\r\n`))
      await answerOf(socket, /never/)
      socket.destroy()
    }
    expect(seen.filter(({ url }) => url !== "/v1/tickets")).toEqual([])
    expect(seen.length).toBeGreaterThan(0)
    for (const { headers } of seen) {
      expect(["transfer-encoding", "content-length"].filter((name) => name in headers).length).toBeLessThanOrEqual(1)
      expect(headers).not.toHaveProperty("transfer_encoding")
    }
  })

  it("health and metrics are nobody's outside, however they are written", async () => {
    const paths = [
      "/health/ready",
      "/metrics",
      "//metrics",
      "/%6detrics",
      "/./health/live",
      "/%2e/metrics",
      "/..//metrics"
    ]
    for (const path of paths) {
      const socket = await rawConnection(proxy.controlPort)
      socket.write(`GET ${path} HTTP/1.1\r\nHost: desk\r\nConnection: close\r\n\r\n`)
      expect(await answerOf(socket, /never/)).toMatch(/^HTTP\/1.1 404 /)
    }
    expect((await fetch(`https://127.0.0.1:${proxy.bulkPort}/health/ready`)).status).toBe(404)
  })

  it("a large command is refused before it is read", async () => {
    const body = Buffer.alloc(2 << 20)
    const answer = await fetch(`https://127.0.0.1:${proxy.controlPort}/v1/tickets`, { method: "POST", body })
    expect(answer.status).toBe(413)
  })
})

const mebibyte = 1024 * 1024

describe("a desk behind the proxy", () => {
  let direct: Desk
  let proxy: Proxy
  let desk: Desk
  let agent: string

  beforeAll(async () => {
    direct = await startDesk("embedded")
    const { host: file } = new URL(direct.url.file)
    const { host: realtime } = new URL(direct.url.realtime)
    const { host: behind } = new URL(direct.url.command)
    const { host: queries } = new URL(direct.url.query)
    proxy = await startProxy({ command: behind, grpc: direct.grpcAddress, query: queries, realtime, file })
    const control = `127.0.0.1:${proxy.controlPort}`
    desk = {
      ...direct,
      url: {
        ...{ command: `https://${control}`, query: `https://${control}` },
        ...{ realtime: `wss://${control}/graphql`, file: `https://127.0.0.1:${proxy.bulkPort}` }
      }
    }
    agent = await direct.token("agent", "ada", "Ada Agent")
    await until("the proxy serves", async () => ((await fetch(`https://${control}/`)).status < 500 ? true : null))
  }, 180_000)
  afterAll(async () => {
    await proxy?.stop()
    expect(await direct?.stop()).toBe(0)
  }, 180_000)

  const openTicket = (id = randomUUIDv7()) =>
    command(desk, agent, "/v1/tickets", { subject: "Through the proxy", body: "Does it arrive?" }, id)

  it("an upload is cut and resumes, and what comes back is the same", async () => {
    const bytes = Buffer.from(randomBytes(6 * mebibyte).toString("hex"))
    const { cuts, fileId } = await uploadWithCuts(desk, agent, bytes, { filename: "n.txt", filetype: "text/plain" }, 2)
    expect(cuts).toBe(2)
    const link = await until("the file is released", async () => {
      const text = "query($id: ID!) { file(id: $id) { downloadUrl } }"
      const { data } = await query<{ file: { downloadUrl: string | null } | null }>(desk, agent, text, { id: fileId })
      return data.file?.downloadUrl ?? null
    })
    const { pathname, search } = new URL(link)
    const got = await downloaded(`${desk.url.file}${pathname}${search}`)
    expect(got.bytes.equals(bytes)).toBe(true)
  })

  it("a subscription brings what happens", async () => {
    const id = randomUUIDv7()
    expect(await openTicket(id)).toMatchObject({ status: 200 })
    await command(desk, agent, `/v1/tickets/${id}/replies`, { body: "It does." }, randomUUIDv7())
    const events = await feedUntil(desk, agent, { id, after: 0 }, "TicketReplied")
    expect(events.map(({ type }) => type)).toEqual(["TicketOpened", "TicketReplied"])
  })

  it("an event stream brings it too, each event as it happens, and ends where it is cut", async () => {
    const id = randomUUIDv7()
    expect(await openTicket(id)).toMatchObject({ status: 200 })
    const cut = new AbortController()
    const text = "subscription($id: ID!) { ticketChanged(id: $id, after: 0) { type } }"
    const answer = await fetch(`${desk.url.query}/graphql/stream`, {
      method: "POST",
      headers: { accept: "text/event-stream", authorization: `Bearer ${agent}`, "content-type": "application/json" },
      body: JSON.stringify({ query: text, variables: { id } }),
      signal: cut.signal
    })
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "text/event-stream; charset=utf-8"])
    let heard = ""
    for await (const chunk of answer.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const isFirst = heard === ""
      heard += chunk
      if (isFirst) await command(desk, agent, `/v1/tickets/${id}/replies`, { body: "It does." }, randomUUIDv7())
      if (heard.includes("TicketReplied")) break
    }
    cut.abort()
    expect(heard).toMatch(
      /id: \d+\nevent: next\ndata: .*TicketOpened[\s\S]*id: \d+\nevent: next\ndata: .*TicketReplied/
    )
  })

  it("a flood of uploads takes nothing from commands, queries and subscriptions, and each address has its bound", async () => {
    const flood = await floodOf(320)
    const id = randomUUIDv7()
    expect(await openTicket(id)).toMatchObject({ status: 200 })
    await command(desk, agent, `/v1/tickets/${id}/replies`, { body: "Still here." }, randomUUIDv7())
    await feedUntil(desk, agent, { id, after: 0 }, "TicketReplied")
    expect(
      (await query<{ me: unknown }>(desk, agent, "{ tickets(list: all, first: 1) { totalCount } }")).data
    ).toBeTruthy()
    const refused = await rawConnection(proxy.bulkPort, "127.0.0.2")
    refused.write("HEAD /files/x HTTP/1.1\r\nHost: desk\r\n\r\n")
    expect(await answerOf(refused, /\r\n\r\n/)).toMatch(/^HTTP\/1.1 429 /)
    expect(flood.filter(({ destroyed }) => destroyed)).toEqual([])
    for (const socket of [...flood, refused]) socket.destroy()
    await until("the bulk path is free again", async () => ((await announced()) === 204 ? true : null))
  })

  const announced = async (): Promise<number> => (await fetch(`${desk.url.file}/files/`, { method: "OPTIONS" })).status

  /** Uploads of many people from five addresses that begin and never end: more than the gateway is given at once. */
  const floodOf = async (count: number): Promise<ReadonlyArray<TLSSocket>> => {
    const people = await Promise.all(Array.from({ length: count / 8 }, (_, index) => tokenOf(`person-${index}`)))
    return Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const socket = await rawConnection(proxy.bulkPort, `127.0.0.${2 + (index % 5)}`)
        socket.on("error", () => socket.destroy())
        socket.write(beginning(people[index % people.length] ?? ""))
        return socket
      })
    )
  }

  const beginning = (token: string): string =>
    [
      ...["POST /files/ HTTP/1.1", "Host: desk", `Authorization: Bearer ${token}`, "Tus-Resumable: 1.0.0"],
      ...["Upload-Length: 1000000", "Content-Length: 1000000", "Content-Type: application/offset+octet-stream"],
      `Upload-Metadata: filename ${Buffer.from("flood.bin").toString("base64")}\r\n\r\nand then nothing`
    ].join("\r\n")

  const tokenOf = (name: string): Promise<string> =>
    Effect.runPromise(
      Effect.map(
        issueToken({
          directory: join(direct.dataDir, "keys"),
          principal: { id: PrincipalId.make(name), role: "customer" },
          ...{ issuer: "holdfast", audience: "holdfast", lifetime: Duration.hours(1) }
        }),
        Redacted.value
      )
    )
})
