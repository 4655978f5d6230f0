// The running gateway from outside, with a disk and nothing else: uploads that are cut, killed and resumed; what a hostile client tries;
// and what a download gives.
import { createHash, randomBytes } from "node:crypto"
import { mkdirSync, writeFileSync } from "node:fs"
import { request } from "node:http"
import { join } from "node:path"
import { expect, layer } from "@effect/vitest"
import { FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { signLink } from "@holdfast/domain/attachment/DownloadLink"
import { faultProxy } from "@holdfast/testkit/Faults"
import { Context, Effect, Layer, Redacted } from "effect"
import { downloadKey, metadata, RunningGateway, uploadAll } from "./RunningGateway.ts"

class Gateway extends Context.Service<Gateway, RunningGateway>()("test/Gateway") {
  static readonly layer = Layer.effect(this, RunningGateway.make)
}

const sha256Of = (bytes: Uint8Array) => Sha256.make(createHash("sha256").update(bytes).digest("hex"))
const inGateway = (body: (gateway: RunningGateway) => Promise<void>) =>
  Gateway.use((gateway) => Effect.promise(() => body(gateway)))

layer(Gateway.layer, { timeout: 180_000, excludeTestServices: true })("the file gateway", (it) => {
  it.effect(
    "takes 64 MiB over a line that is cut three times",
    () =>
      Effect.gen(function* () {
        const gateway = yield* Gateway
        const proxy = yield* faultProxy({ host: "127.0.0.1", port: gateway.port })
        const content = randomBytes(64 << 20)
        const token = yield* Effect.promise(() => gateway.token("ada"))
        const runFork = Effect.runForkWith(yield* Effect.context())
        const cuts = [8, 24, 40].map((mebibytes) => mebibytes << 20)
        const onAccepted = (accepted: number) => {
          if (accepted < (cuts[0] ?? Number.POSITIVE_INFINITY)) return
          cuts.shift()
          runFork(proxy.set({ _tag: "CutAfter", bytes: 3 << 20, direction: "toServer" }))
        }
        const onFailure = () => void runFork(proxy.set({ _tag: "Pass" }))
        const endpoint = `${proxy.through(gateway.url)}files/`
        const { failures, url } = yield* Effect.promise(() =>
          uploadAll({ endpoint, token, content, name: "large.bin", onAccepted, onFailure })
        )
        expect(cuts).toEqual([])
        expect(failures).toBeGreaterThanOrEqual(3)
        expect(gateway.files("quarantine")).toContain(sha256Of(content))
        const fileId = url.split("/").at(-1)
        expect(gateway.journal()).toContainEqual(
          expect.objectContaining({
            file: {
              fileId,
              name: "large.bin",
              sizeBytes: content.length,
              sha256: sha256Of(content),
              declaredType: "application/octet-stream",
              ownerId: "ada"
            }
          })
        )
      }).pipe(Effect.scoped),
    180_000
  )

  it.effect(
    "loses nothing when it is killed in the middle",
    () =>
      inGateway(async (gateway) => {
        const content = randomBytes(24 << 20)
        const token = await gateway.token("ada")
        let restarted: Promise<void> | undefined
        const onAccepted = (accepted: number) => {
          if (accepted < 8 << 20 || restarted !== undefined) return
          restarted = gateway.end("SIGKILL").then(() => gateway.start())
        }
        const endpoint = `${gateway.url}/files/`
        const { failures } = await uploadAll({
          endpoint,
          token,
          content,
          name: "k.bin",
          chunkSize: 4 << 20,
          onAccepted
        })
        await restarted
        expect(failures).toBeGreaterThan(0)
        expect(gateway.files("quarantine")).toContain(sha256Of(content))
      }),
    180_000
  )

  it.effect("finishes at its next start what was complete when it was killed", () =>
    inGateway(async (gateway) => {
      const token = await gateway.token("ada")
      const { headers } = await gateway.begin(token)
      const id = headers.get("location")?.split("/").at(-1) ?? ""
      await gateway.end("SIGKILL")
      writeFileSync(join(gateway.dataDir, "files", "uploads", id), "0123456789")
      await gateway.start()
      const answer = await gateway.ask(token, `/files/${id}`)
      expect(answer.headers.get("upload-offset")).toBe("10")
      expect(gateway.files("quarantine")).toContain(sha256Of(Buffer.from("0123456789")))
    })
  )

  it.effect("keeps answering for a completed upload, and accepts an empty one", () =>
    inGateway(async (gateway) => {
      const token = await gateway.token("ada")
      const begun = await gateway.begin(token)
      const location = begun.headers.get("location") ?? ""
      expect(location).toMatch(/^\/files\/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/)
      expect((await gateway.send(token, location, 0, "0123456789")).status).toBe(204)
      const head = await gateway.ask(token, location)
      expect([head.status, head.headers.get("upload-offset"), head.headers.get("upload-length")]).toEqual([
        200,
        "10",
        "10"
      ])
      expect((await gateway.ask(token, location, "DELETE")).status).toBe(400)
      expect((await gateway.begin(token, { "upload-length": "0" })).status).toBe(201)
    })
  )

  it.effect("shows an upload to nobody but its owner", () =>
    inGateway(async (gateway) => {
      const [ada, eve] = [await gateway.token("ada"), await gateway.token("eve")]
      const location = (await gateway.begin(ada)).headers.get("location") ?? ""
      expect((await gateway.ask(eve, location)).status).toBe(404)
      expect((await gateway.send(eve, location, 0, "x")).status).toBe(404)
      expect((await gateway.ask(eve, location, "DELETE")).status).toBe(404)
      expect((await gateway.ask(ada, location)).status).toBe(200)
      expect((await gateway.ask(ada, location, "DELETE")).status).toBe(204)
      expect((await gateway.ask(ada, location)).status).toBe(404)
    })
  )

  it.effect("refuses whoever has no valid token", () =>
    inGateway(async (gateway) => {
      for (const token of ["", "nonsense", "a.b.c"]) {
        const answer = await gateway.begin(token)
        expect(answer.status).toBe(401)
        expect(answer.headers.get("www-authenticate")).toBe("Bearer")
        expect(answer.headers.get("content-type")).toContain("application/problem+json")
        expect(await answer.json()).toMatchObject({ type: "urn:holdfast:problem:Unauthenticated", status: 401 })
      }
    })
  )

  it.effect("refuses a wrong offset, and says so as a problem", () =>
    inGateway(async (gateway) => {
      const token = await gateway.token("ada")
      const location = (await gateway.begin(token)).headers.get("location") ?? ""
      const answer = await gateway.send(token, location, 5, "56789")
      expect(answer.status).toBe(409)
      expect(await answer.json()).toMatchObject({ type: "urn:holdfast:problem:UploadOffsetConflict" })
      expect((await gateway.send(token, location, 0, "01234567890123")).status).toBe(413)
      expect((await gateway.ask(token, location)).headers.get("upload-offset")).toBe("0")
    })
  )

  it.effect.each([
    ["filename", { filename: "" }],
    ["filename", { filename: "a\u0000b" }],
    ["filename", { filename: "invoice\u202efdp.exe" }],
    ["filename", { filename: ".." }],
    ["filename", { filename: "n".repeat(256) }],
    ["filetype", { filename: "a", filetype: "not a type" }],
    ["ticketId", { filename: "a", ticketId: "../../etc/passwd" }]
  ] as const)("names the field %s of %j", ([path, fields]) =>
    inGateway(async (gateway) => {
      const answer = await gateway.begin(await gateway.token("ada"), { "upload-metadata": metadata({ ...fields }) })
      expect(answer.status).toBe(400)
      expect(await answer.json()).toMatchObject({ type: "urn:holdfast:problem:ValidationFailed", issues: [{ path }] })
    })
  )

  it.effect.each(["%%%", "filename !!!", "filename YQ==,filename Yg==", "filename YQ=="])(
    "survives the metadata %s",
    (garbage) =>
      inGateway(async (gateway) => {
        const answer = await gateway.begin(await gateway.token("ada"), { "upload-metadata": garbage })
        expect(answer.status).toBe(garbage === "filename YQ==" ? 201 : 400)
      })
  )

  it.effect.each([
    ["../../../etc/passwd", "passwd"],
    ["C:\\Windows\\cmd.exe", "cmd.exe"],
    ["Prüfung 東京.pdf", "Prüfung 東京.pdf"]
  ] as const)("takes of the name %s only %s", ([given, kept]) =>
    inGateway(async (gateway) => {
      const token = await gateway.token("ada")
      const begun = await gateway.begin(token, { "upload-metadata": metadata({ filename: given }) })
      await gateway.send(
        token,
        begun.headers.get("location") ?? "",
        0,
        `${kept}..........`.slice(0, 10).replace(/[^\x20-\x7e]/g, "-")
      )
      expect(gateway.journal()).toContainEqual(
        expect.objectContaining({ file: expect.objectContaining({ name: kept }) })
      )
    })
  )

  it.effect("refuses what is too large, and too many at once", () =>
    inGateway(async (gateway) => {
      const token = await gateway.token("greedy")
      expect((await gateway.begin(token, { "upload-length": String(600 << 20) })).status).toBe(413)
      const statuses: Array<number> = []
      for (let index = 0; index < 33; index++) statuses.push((await gateway.begin(token)).status)
      expect(statuses.filter((status) => status === 201)).toHaveLength(32)
      expect(statuses.at(-1)).toBe(429)
    })
  )

  it.effect("gives no uploaded byte back by any path", () =>
    inGateway(async (gateway) => {
      const token = await gateway.token("ada")
      const secret = "quarantine"
      const location = (await gateway.begin(token)).headers.get("location") ?? ""
      await gateway.send(token, location, 0, secret)
      const sha256 = sha256Of(Buffer.from(secret))
      expect(gateway.files("quarantine")).toContain(sha256)
      const id = location.split("/").at(-1) ?? ""
      const claims = link(id, sha256)
      const paths = [
        location,
        `${location}.done`,
        `${location}.json`,
        `/files/..%2fquarantine%2f${sha256.slice(0, 2)}%2f${sha256}`,
        `/files/../quarantine/${sha256.slice(0, 2)}/${sha256}`,
        `/quarantine/${sha256.slice(0, 2)}/${sha256}`,
        `/download/${id}`,
        `/download/${id}?${claims}`,
        `/download/..%2f..%2fquarantine?${claims}`
      ]
      for (const path of paths) {
        const { body, status } = await raw(gateway.port, path, token)
        expect([path, status >= 400, body.includes(secret)]).toEqual([path, true, false])
      }
    })
  )

  it.effect("lets pages of allowed origins in, and no others", () =>
    inGateway(async (gateway) => {
      const token = await gateway.token("ada")
      const ask = async (origin: string) =>
        (await gateway.begin(token, { origin })).headers.get("access-control-allow-origin")
      expect(await ask("https://desk.example")).toBe("https://desk.example")
      expect(await ask("https://evil.example")).not.toBe("https://evil.example")
      const options = await fetch(`${gateway.url}/files/`, {
        method: "OPTIONS",
        headers: { origin: "https://desk.example", "access-control-request-method": "PATCH" }
      })
      expect(options.headers.get("access-control-allow-methods")).toContain("PATCH")
      expect(options.headers.get("tus-version")).toBe("1.0.0")
      expect(options.headers.get("tus-extension")).toContain("termination")
    })
  )

  it.effect("answers for its health and metrics", () =>
    inGateway(async (gateway) => {
      const ready = await fetch(`${gateway.url}/health/ready`)
      expect(ready.status).toBe(200)
      expect(JSON.stringify(await ready.json())).toContain("storage")
      expect((await fetch(`${gateway.url}/metrics`)).status).toBe(200)
    })
  )

  const page = Buffer.from("<script>alert(1)</script>")
  const released = (gateway: RunningGateway, bytes: Buffer) => {
    const sha256 = sha256Of(bytes)
    const folder = join(gateway.dataDir, "files", "released", sha256.slice(0, 2))
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, sha256), bytes)
    return sha256
  }

  it.effect("gives released content by signed link, kept from running in a browser", () =>
    inGateway(async (gateway) => {
      const query = link(fileId, released(gateway, page), { name: 'a "b".html', mediaType: "text/html" })
      const answer = await fetch(`${gateway.url}/download/${fileId}?${query}`)
      expect([answer.status, await answer.text()]).toEqual([200, page.toString()])
      expect(answer.headers.get("content-disposition")).toBe(
        `attachment; filename="a _b_.html"; filename*=UTF-8''a%20%22b%22.html`
      )
      expect(answer.headers.get("content-security-policy")).toContain("sandbox")
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff")
      expect(answer.headers.get("content-type")).toBe("text/html")
      const picture = link(fileId, released(gateway, page), { name: "東京.png", mediaType: "image/png" })
      const shown = await fetch(`${gateway.url}/download/${fileId}?${picture}`)
      expect(shown.headers.get("content-disposition")).toBe(
        `inline; filename="__.png"; filename*=UTF-8''%E6%9D%B1%E4%BA%AC.png`
      )
    })
  )

  it.effect("gives ranges, entity tags and headers alone", () =>
    inGateway(async (gateway) => {
      const url = `${gateway.url}/download/${fileId}?${link(fileId, released(gateway, page))}`
      const etag = `"${sha256Of(page)}"`
      const get = (headers: Record<string, string>, method = "GET") => fetch(url, { method, headers })
      const part = await get({ range: "bytes=1-6" })
      expect([part.status, await part.text(), part.headers.get("content-range")]).toEqual([
        206,
        "script",
        "bytes 1-6/25"
      ])
      expect(await (await get({ range: "bytes=-9" })).text()).toBe("</script>")
      expect(await (await get({ range: "bytes=16-" })).text()).toBe("</script>")
      const beyond = await get({ range: "bytes=99-" })
      expect([beyond.status, beyond.headers.get("content-range")]).toEqual([416, "bytes */25"])
      expect((await get({ range: "bytes=0-1,3-4" })).headers.get("content-range")).toBe("bytes 0-4/25")
      expect((await get({ range: "bytes=0-1", "if-range": '"other"' })).status).toBe(200)
      expect((await get({ "if-none-match": etag })).status).toBe(304)
      const head = await get({}, "HEAD")
      expect([head.status, head.headers.get("content-length"), head.headers.get("etag")]).toEqual([200, "25", etag])
      expect((await get({}, "POST")).status).toBe(405)
    })
  )

  it.effect("refuses a link that is forged, expired, or to what was not released", () =>
    inGateway(async (gateway) => {
      const sha256 = released(gateway, page)
      const status = async (query: string) => (await fetch(`${gateway.url}/download/${fileId}?${query}`)).status
      expect(await status(link(fileId, sha256).replace("s=", "s=x"))).toBe(403)
      expect(await status("")).toBe(403)
      expect(await status(link(fileId, sha256, { expiresAtSeconds: 1 }))).toBe(410)
      expect(await status(link(fileId, sha256Of(Buffer.from("never"))))).toBe(404)
    })
  )

  it.effect("stops when told to, with exit code 0", () =>
    inGateway(async (gateway) => {
      expect(await gateway.end("SIGTERM")).toBe(0)
    })
  )
})

const fileId = FileId.make("0190a1b2-c3d4-7000-8000-000000000001")

const link = (
  id: string,
  sha256: Sha256,
  claims: { name?: string; mediaType?: string; expiresAtSeconds?: number } = {}
) =>
  signLink(Redacted.make(downloadKey), {
    fileId: FileId.make(id),
    sha256,
    name: "a.html",
    mediaType: "text/html",
    principalId: PrincipalId.make("ada"),
    expiresAtSeconds: Math.floor(Date.now() / 1000) + 60,
    ...claims
  })

/** As sent: `fetch` would tidy the path. */
const raw = (port: number, path: string, token: string) =>
  new Promise<{ readonly status: number; readonly body: string }>((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, "tus-resumable": "1.0.0" }
    request({ host: "127.0.0.1", port, path, headers }, (answer) => {
      let body = ""
      answer.on("data", (chunk) => {
        body += chunk
      })
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, body }))
    })
      .on("error", reject)
      .end()
  })
