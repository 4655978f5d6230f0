// The tus 1.0 protocol as the running gateway keeps it: every MUST of its text that binds a server, by section, asked over HTTP as any client
// would; and then whatever else may be sent, of which none is ever an error of ours.
import { createHash, randomBytes } from "node:crypto"
import { readFileSync, utimesSync, watch } from "node:fs"
import { connect } from "node:net"
import { basename, join } from "node:path"
import { describe, expect, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import { metadata, RunningGateway } from "./RunningGateway.ts"

class Gateway extends Context.Service<Gateway, RunningGateway>()("test/TusGateway") {
  static readonly layer = Layer.effect(this, RunningGateway.make)
}

/** One person each, so that nobody is in another's way. */
class Person {
  readonly #gateway: RunningGateway
  readonly token: string
  constructor(gateway: RunningGateway, token: string) {
    this.#gateway = gateway
    this.token = token
  }

  ask(method: string, path: string, headers: Record<string, string> = {}, body?: Uint8Array): Promise<Response> {
    return fetch(new URL(path, this.#gateway.url), {
      method,
      headers: { authorization: `Bearer ${this.token}`, "tus-resumable": "1.0.0", ...headers },
      ...(body === undefined ? {} : { body: new Uint8Array(body) })
    })
  }

  create(sizeBytes: number, headers: Record<string, string> = {}, body?: Uint8Array): Promise<Response> {
    const named = { "upload-length": String(sizeBytes), "upload-metadata": plain }
    return this.ask("POST", "/files/", { ...named, ...headers }, body)
  }

  async created(sizeBytes: number, headers: Record<string, string> = {}): Promise<string> {
    return (await this.create(sizeBytes, headers)).headers.get("location") ?? ""
  }

  send(path: string, offset: number, text: string, headers: Record<string, string> = {}): Promise<Response> {
    return this.ask("PATCH", path, { ...content, "upload-offset": String(offset), ...headers }, Buffer.from(text))
  }

  async part(text: string): Promise<string> {
    const path = await this.created(text.length, { "upload-concat": "partial" })
    await this.send(path, 0, text)
    return path
  }

  join(parts: ReadonlyArray<string>, headers: Record<string, string> = {}): Promise<Response> {
    const concat = `final;${parts.join(" ")}`
    return this.ask("POST", "/files/", { "upload-concat": concat, "upload-metadata": plain, ...headers })
  }

  async offset(path: string): Promise<string | null> {
    return (await this.ask("HEAD", path)).headers.get("upload-offset")
  }
}

const content = { "content-type": "application/offset+octet-stream" }
const plain = metadata({ filename: "a.txt", filetype: "text/plain" })
const sumOf = (text: string, algorithm = "sha1") =>
  `${algorithm} ${createHash(algorithm).update(text).digest("base64")}`

let count = 0
const must = (body: (person: Person, gateway: RunningGateway) => Promise<void>) =>
  Gateway.use((gateway) =>
    Effect.promise(async () => body(new Person(gateway, await gateway.token(`person-${count++}`)), gateway))
  )

layer(Gateway.layer, { timeout: 180_000, excludeTestServices: true })("tus 1.0", (it) => {
  describe("core protocol", () => {
    it.effect("Headers: Upload-Offset and Upload-Length are non-negative integers", () =>
      must(async (person) => {
        for (const length of ["-1", "1.5", "abc", "", " "]) {
          expect((await person.create(0, { "upload-length": length })).status).toBe(400)
        }
        const path = await person.created(10)
        for (const offset of ["-1", "0.0", "nothing"]) {
          expect((await person.send(path, 0, "x", { "upload-offset": offset })).status).toBe(400)
        }
      })
    )

    it.effect("Tus-Version is a list of the versions spoken", () =>
      must(async (person) => {
        expect((await person.ask("OPTIONS", "/files/")).headers.get("tus-version")).toBe("1.0.0")
      })
    )

    it.effect("Tus-Resumable is in every answer and tells the version", () =>
      must(async (person, gateway) => {
        const path = await person.created(4)
        const answers = [
          await person.create(4),
          await person.send(path, 0, "ab"),
          await person.ask("HEAD", path),
          await person.send(path, 0, "ab"),
          await person.ask("DELETE", path),
          await person.ask("HEAD", path),
          await person.ask("HEAD", path, { "tus-resumable": "2.0.0" }),
          await person.ask("PUT", path),
          await fetch(`${gateway.url}${path}`),
          await fetch(`${gateway.url}${path}`, { method: "HEAD", headers: { "tus-resumable": "1.0.0" } })
        ]
        expect(answers.map(({ headers, status }) => [status, headers.get("tus-resumable")])).toEqual(
          [201, 204, 200, 409, 204, 404, 412, 405, 405, 401].map((status) => [status, "1.0.0"])
        )
      })
    )

    it.effect("Tus-Resumable of another version is answered with 412 and Tus-Version, and nothing is done", () =>
      must(async (person) => {
        const path = await person.created(4)
        for (const version of ["0.2.2", "1.0", "", "1.0.0, 1.0.0"]) {
          for (const answer of [
            await person.send(path, 0, "abcd", { "tus-resumable": version }),
            await person.create(4, { "tus-resumable": version }),
            await person.ask("DELETE", path, { "tus-resumable": version })
          ]) {
            expect([answer.status, answer.headers.get("tus-version")]).toEqual([412, "1.0.0"])
            expect(answer.headers.get("location")).toBe(null)
          }
        }
        expect(await person.offset(path)).toBe("0")
      })
    )

    it.effect("Tus-Extension is a list of what is done here, and of nothing else", () =>
      must(async (person) => {
        const extensions = (await person.ask("OPTIONS", "/files/")).headers.get("tus-extension")?.split(",")
        expect(extensions?.toSorted()).toEqual([
          ...["checksum", "concatenation", "creation", "creation-with-upload", "expiration", "termination"]
        ])
      })
    )

    it.effect("Tus-Max-Size is a non-negative integer, and the size of the largest upload that is taken", () =>
      must(async (person) => {
        const size = (await person.ask("OPTIONS", "/files/")).headers.get("tus-max-size") ?? ""
        expect(size).toMatch(/^[0-9]+$/)
        expect((await person.create(Number(size) + 1)).status).toBe(413)
      })
    )

    it.effect("X-HTTP-Method-Override is the method, and the method of the request is ignored", () =>
      must(async (person) => {
        const path = await person.created(4)
        const sent = await person.ask(
          "POST",
          path,
          { ...content, "upload-offset": "0", "x-http-method-override": "PATCH" },
          Buffer.from("ab")
        )
        expect([sent.status, sent.headers.get("upload-offset")]).toEqual([204, "2"])
        const looked = await person.ask("GET", path, { "x-http-method-override": "HEAD" })
        expect([looked.status, looked.headers.get("upload-offset")]).toEqual([200, "2"])
        expect((await person.ask("POST", path, { "x-http-method-override": "DELETE" })).status).toBe(204)
        expect((await person.ask("HEAD", path)).status).toBe(404)
      })
    )

    it.effect("HEAD: Upload-Offset always, also 0 and of a complete upload; Upload-Length as it is known", () =>
      must(async (person) => {
        const path = await person.created(4)
        for (const [offset, text] of [
          ["0", "ab"],
          ["2", "cd"],
          ["4", ""]
        ] as const) {
          const { headers, status } = await person.ask("HEAD", path)
          expect([status, headers.get("upload-offset"), headers.get("upload-length")]).toEqual([200, offset, "4"])
          await person.send(path, Number(offset), text)
        }
      })
    )

    it.effect("HEAD: nothing is kept on the way: Cache-Control is no-store", () =>
      must(async (person) => {
        const path = await person.created(4)
        expect((await person.ask("HEAD", path)).headers.get("cache-control")).toBe("no-store")
        expect((await person.ask("HEAD", `${path.slice(0, -4)}0000`)).headers.get("cache-control")).toBe("no-store")
      })
    )

    it.effect("HEAD: what is not there is 404, without Upload-Offset", () =>
      must(async (person) => {
        const { headers, status } = await person.ask("HEAD", "/files/0190a1b2-c3d4-7000-8000-000000000001")
        expect([status, headers.has("upload-offset")]).toEqual([404, false])
        expect((await person.send("/files/0190a1b2-c3d4-7000-8000-000000000001", 0, "x")).status).toBe(404)
      })
    )

    it.effect("PATCH: another Content-Type is answered with 415", () =>
      must(async (person) => {
        const path = await person.created(4)
        for (const type of ["text/plain", "application/octet-stream", "application/offset+octet-stream-not"]) {
          expect((await person.send(path, 0, "abcd", { "content-type": type })).status).toBe(415)
        }
        expect(await person.offset(path)).toBe("0")
      })
    )

    it.effect("PATCH: an Upload-Offset that is not the upload's is answered with 409, and nothing is changed", () =>
      must(async (person) => {
        const path = await person.created(4)
        await person.send(path, 0, "ab")
        for (const offset of [0, 1, 3, 4, 5, 1e15]) expect((await person.send(path, offset, "cd")).status).toBe(409)
        expect(await person.offset(path)).toBe("2")
      })
    )

    it.effect("PATCH: success is 204 with the new Upload-Offset, the old one and what was received", () =>
      must(async (person) => {
        const path = await person.created(6)
        for (const [offset, text] of [
          [0, "a"],
          [1, "bcd"],
          [4, ""],
          [4, "ef"]
        ] as const) {
          const { headers, status } = await person.send(path, offset, text)
          expect([status, headers.get("upload-offset")]).toEqual([204, String(offset + text.length)])
        }
      })
    )

    it.effect("OPTIONS: Tus-Version is in the answer, and Tus-Resumable is ignored", () =>
      must(async (person, gateway) => {
        for (const headers of [{}, { "tus-resumable": "0.0.1" }]) {
          const answer = await fetch(`${gateway.url}/files/`, { method: "OPTIONS", headers })
          expect([answer.status, answer.headers.get("tus-version")]).toEqual([204, "1.0.0"])
        }
        const overridden = await person.ask("POST", "/files/", { "x-http-method-override": "OPTIONS" })
        expect([overridden.status, overridden.headers.get("tus-version")]).toEqual([204, "1.0.0"])
      })
    )
  })

  describe("extensions", () => {
    it.effect("Creation: Upload-Length is asked for, and Upload-Defer-Length is not taken as it is not announced", () =>
      must(async (person) => {
        expect((await person.ask("POST", "/files/", { "upload-metadata": plain })).status).toBe(400)
        expect((await person.create(4, { "upload-defer-length": "1" })).status).toBe(501)
        for (const value of ["0", "2", "yes"]) {
          expect((await person.create(4, { "upload-defer-length": value })).status).toBe(400)
        }
        const path = await person.created(4)
        expect((await person.send(path, 0, "ab", { "upload-length": "2" })).status).toBe(400)
        expect((await person.ask("HEAD", path)).headers.get("upload-length")).toBe("4")
      })
    )

    it.effect("Creation: Upload-Metadata is pairs of a key and Base64, no key empty or twice", () =>
      must(async (person) => {
        const bad = [
          "",
          ",",
          "filename",
          "filename YQ= =",
          "filename !!",
          "filename YQ==,filename YQ==",
          ` ${plain},x y z`
        ]
        for (const value of bad)
          expect([value, (await person.create(4, { "upload-metadata": value })).status]).toEqual([value, 400])
      })
    )

    it.effect("Creation: HEAD tells Upload-Metadata as it was sent", () =>
      must(async (person) => {
        const sent = `${plain},is_confidential,note ${Buffer.from([0, 255, 10, 13]).toString("base64")}`
        const path = await person.created(4, { "upload-metadata": sent })
        expect((await person.ask("HEAD", path)).headers.get("upload-metadata")).toBe(sent)
      })
    )

    it.effect("Creation: what is larger than Tus-Max-Size is answered with 413", () =>
      must(async (person) => {
        for (const size of ["536870913", "9007199254740993", "1".repeat(100)]) {
          expect((await person.create(0, { "upload-length": size })).status).toBe(413)
        }
      })
    )

    it.effect("Creation: success is 201 with the Location of the upload, also of an empty one", () =>
      must(async (person) => {
        for (const size of [0, 4]) {
          const { headers, status } = await person.create(size)
          expect(status).toBe(201)
          expect(await person.offset(headers.get("location") ?? "")).toBe("0")
        }
      })
    )

    it.effect("Creation With Upload: the answer tells Upload-Offset after what came along", () =>
      must(async (person, gateway) => {
        for (const text of ["abcd", "ab", ""]) {
          const { headers, status } = await person.create(4, content, Buffer.from(text))
          expect([status, headers.get("upload-offset")]).toEqual([201, String(text.length)])
          expect(await person.offset(headers.get("location") ?? "")).toBe(String(text.length))
        }
        expect((await person.create(4, content, Buffer.from("abcde"))).status).toBe(413)
        expect(gateway.files("quarantine")).toContain(createHash("sha256").update("abcd").digest("hex"))
      })
    )

    it.effect(
      "Expiration: Upload-Expires, a date of HTTP, is in the answers to POST and PATCH while it will expire",
      () =>
        must(async (person) => {
          const created = await person.create(4)
          const path = created.headers.get("location") ?? ""
          const sent = await person.send(path, 0, "ab")
          for (const { headers } of [created, sent]) {
            const expires = headers.get("upload-expires") ?? ""
            expect(new Date(expires).toUTCString()).toBe(expires)
            expect(new Date(expires).getTime()).toBeGreaterThan(Date.now())
          }
          expect((await person.send(path, 2, "cd")).headers.has("upload-expires")).toBe(false)
        })
    )

    it.effect("Expiration: an upload that expired is answered with 410", () =>
      must(async (person, gateway) => {
        const path = await person.created(4)
        const longAgo = Date.now() / 1000 - 25 * 60 * 60
        utimesSync(join(gateway.dataDir, "files", "uploads", basename(path)), longAgo, longAgo)
        expect((await person.ask("HEAD", path)).status).toBe(410)
        expect((await person.send(path, 0, "abcd")).status).toBe(410)
      })
    )

    it.effect("Checksum: sha1 at least is known, and the algorithms are announced, in small letters", () =>
      must(async (person) => {
        const algorithms = (await person.ask("OPTIONS", "/files/")).headers.get("tus-checksum-algorithm") ?? ""
        expect(algorithms).toMatch(/^[a-z0-9]+(,[a-z0-9]+)*$/)
        expect(algorithms.split(",")).toContain("sha1")
        for (const algorithm of algorithms.split(",")) {
          const path = await person.created(4)
          const sent = await person.send(path, 0, "abcd", { "upload-checksum": sumOf("abcd", algorithm) })
          expect([algorithm, sent.status, sent.headers.get("upload-offset")]).toEqual([algorithm, 204, "4"])
        }
      })
    )

    it.effect("Checksum: bytes of another one are answered with 460, discarded, and the offset is as before", () =>
      must(async (person) => {
        const path = await person.created(6)
        await person.send(path, 0, "ab")
        expect((await person.send(path, 2, "cdef", { "upload-checksum": sumOf("other") })).status).toBe(460)
        expect(await person.offset(path)).toBe("2")
        expect((await person.send(path, 2, "cdef", { "upload-checksum": sumOf("cdef") })).status).toBe(204)
      })
    )

    it.effect("Checksum: an algorithm that is not known is answered with 400, and the bytes are discarded", () =>
      must(async (person) => {
        const path = await person.created(4)
        for (const value of [sumOf("abcd", "md5"), "SHA1 AAAA", "sha1", "sha1 !", "crc32 AAAAAA=="]) {
          expect((await person.send(path, 0, "abcd", { "upload-checksum": value })).status).toBe(400)
        }
        expect(await person.offset(path)).toBe("0")
      })
    )

    it.effect("Termination: DELETE is 204, and from then on there is no such upload and nothing of it", () =>
      must(async (person, gateway) => {
        const path = await person.created(4)
        await person.send(path, 0, "ab")
        expect((await person.ask("DELETE", path)).status).toBe(204)
        for (const method of ["HEAD", "DELETE"]) expect((await person.ask(method, path)).status).toBe(404)
        expect((await person.send(path, 2, "cd")).status).toBe(404)
        expect(gateway.files("uploads").filter((name) => name.startsWith(basename(path)))).toEqual([])
      })
    )

    it.effect("Concatenation: the upload is the parts in the order of the list, and as long as they are together", () =>
      must(async (person, gateway) => {
        const [first, second] = [await person.part("first,"), await person.part("second")]
        const made = await person.join([second, `${gateway.url}${first}`])
        expect(made.status).toBe(201)
        const head = await person.ask("HEAD", made.headers.get("location") ?? "")
        expect([head.headers.get("upload-offset"), head.headers.get("upload-length")]).toEqual(["12", "12"])
        expect(gateway.files("quarantine")).toContain(createHash("sha256").update("secondfirst,").digest("hex"))
      })
    )

    it.effect("Concatenation: parts are no files by themselves, and their metadata is not the upload's", () =>
      must(async (person, gateway) => {
        const path = await person.created(4, { "upload-concat": "partial", "upload-metadata": metadata({ note: "x" }) })
        const before = gateway.journal().length
        await person.send(path, 0, "part")
        expect(gateway.journal()).toHaveLength(before)
        expect((await person.join([path], { "upload-metadata": metadata({ note: "y" }) })).status).toBe(400)
        const made = await person.join([path])
        const id = basename(made.headers.get("location") ?? "")
        expect(gateway.journal()).toContainEqual(
          expect.objectContaining({ file: expect.objectContaining({ fileId: id, name: "a.txt", sizeBytes: 4 }) })
        )
        expect((await person.ask("HEAD", `/files/${id}`)).headers.get("upload-metadata")).toBe(plain)
      })
    )

    it.effect("Concatenation: Upload-Length with the list, and a list of unfinished parts, are refused", () =>
      must(async (person) => {
        const part = await person.part("part")
        expect((await person.join([part], { "upload-length": "4" })).status).toBe(400)
        const unfinished = await person.created(4, { "upload-concat": "partial" })
        expect((await person.join([part, unfinished])).status).toBe(409)
        expect((await person.ask("OPTIONS", "/files/")).headers.get("tus-extension")).not.toContain("unfinished")
        expect((await person.join([part])).status).toBe(201)
      })
    )

    it.effect("Concatenation: a list that is sent again has the same upload for an answer", () =>
      must(async (person) => {
        const part = await person.part("part")
        const locations = [await person.join([part]), await person.join([part])].map(({ headers }) =>
          headers.get("location")
        )
        expect(locations[0]).toBe(locations[1])
      })
    )

    it.effect("Concatenation: PATCH of the upload that was made is answered with 403, and changes nothing", () =>
      must(async (person) => {
        const made = (await person.join([await person.part("part")])).headers.get("location") ?? ""
        expect((await person.send(made, 4, "x")).status).toBe(403)
        expect((await person.send(made, 0, "x")).status).toBe(403)
        expect(await person.offset(made)).toBe("4")
      })
    )

    it.effect("Concatenation: HEAD tells Upload-Concat as it was sent, and offset and length of a part", () =>
      must(async (person) => {
        const part = await person.part("part")
        const { headers } = await person.ask("HEAD", part)
        expect(["upload-concat", "upload-offset", "upload-length"].map((name) => headers.get(name))).toEqual([
          ...["partial", "4", "4"]
        ])
        const made = (await person.join([part])).headers.get("location") ?? ""
        expect((await person.ask("HEAD", made)).headers.get("upload-concat")).toBe(`final;${part}`)
      })
    )

    it.effect(
      "Concatenation: a list that is sent again after the gateway was killed while it joined the parts",
      () =>
        must(async (person, gateway) => {
          const bytes = randomBytes(24 << 20)
          const paths: Array<string> = []
          for (const half of [bytes.subarray(0, 12 << 20), bytes.subarray(12 << 20)]) {
            const sent = await person.create(half.length, { ...content, "upload-concat": "partial" }, half)
            paths.push(sent.headers.get("location") ?? "")
          }
          const killed = Promise.withResolvers<void>()
          const watcher = watch(join(gateway.dataDir, "files", "uploads"), (_, name) => {
            if (name?.endsWith(".preparing")) gateway.end("SIGKILL").then(() => killed.resolve(), killed.reject)
          })
          const first = person.join(paths).catch(() => undefined)
          await killed.promise
          watcher.close()
          expect(await first).toBe(undefined)
          await gateway.start()
          const made = await person.join(paths)
          expect(made.status).toBe(201)
          const sha256 = createHash("sha256").update(bytes).digest("hex")
          const id = basename(made.headers.get("location") ?? "")
          expect(gateway.journal().filter((entry) => JSON.stringify(entry).includes(id))).toEqual([
            expect.objectContaining({ file: expect.objectContaining({ fileId: id, sha256, sizeBytes: bytes.length }) })
          ])
        }),
      180_000
    )

    it.effect("Concatenation: nobody makes anything of somebody else's parts", () =>
      must(async (person, gateway) => {
        const part = await person.part("part")
        const eve = new Person(gateway, await gateway.token("eve"))
        expect((await eve.join([part])).status).toBe(400)
        expect(await person.offset(part)).toBe("4")
      })
    )
  })

  describe("whatever is sent", () => {
    const words = [
      ...[
        "0",
        "4",
        "-1",
        "1e3",
        "99999999999999999999",
        "1.0.0",
        "partial",
        "final;",
        "final;/files/x /files/y",
        "sha1 AAAA"
      ],
      ...[
        "application/offset+octet-stream",
        "PATCH",
        "HEAD",
        "DELETE",
        "filename YQ==",
        "a,b",
        "%00",
        "../..",
        "chunked"
      ]
    ]
    const names = [
      ...["Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Concat", "Upload-Checksum"],
      ...["Upload-Defer-Length", "Content-Type", "X-HTTP-Method-Override", "Expect", "X-Correlation-Id", "traceparent"]
    ]
    const Header = Schema.Struct({
      name: Schema.Literals(names),
      value: Schema.Union([Schema.Literals(words), Schema.String.check(Schema.isPattern(/^[\x20-\xff]{0,40}$/))])
    })
    const Request = Schema.Struct({
      method: Schema.Literals(["POST", "PATCH", "HEAD", "DELETE", "PUT", "OPTIONS", "GET"]),
      path: Schema.Literals(["own", "/files", "/files/", "/files/%2e%2e", "/files/%00", "/files/a/b", "/files/?x=1"]),
      headers: Schema.Array(Header).check(Schema.isMaxLength(6)),
      body: Schema.Literals(["", "abcd"])
    })

    it.effect.prop(
      "is answered, and never as an error of ours",
      [Schema.Array(Request).check(Schema.isMinLength(10), Schema.isMaxLength(20))],
      ([requests]) =>
        must(async (person, gateway) => {
          const own = await person.created(4)
          for (const request of requests) {
            const path = request.path === "own" ? own : request.path
            const status = await rawStatus(gateway.port, person.token, { ...request, path })
            expect([request, status, status >= 200 && (status < 500 || status === 501)]).toEqual([
              request,
              status,
              true
            ])
          }
          expect([200, 404]).toContain((await person.ask("HEAD", own)).status)
        }),
      { arbitrary: { runs: 15 }, timeout: 180_000 }
    )

    it.effect("that waits to be told to go on is told so, or refused before it sends", () =>
      must(async (person, gateway) => {
        const path = await person.created(4)
        const headers = [
          ...[
            { name: "Content-Type", value: content["content-type"] },
            { name: "Upload-Offset", value: "0" }
          ],
          ...[
            { name: "Expect", value: "100-continue" },
            { name: "Tus-Resumable", value: "1.0.0" }
          ]
        ]
        const request = { method: "PATCH", path, headers, body: "abcd" }
        expect(await rawStatus(gateway.port, person.token, request)).toBe(100)
        expect(await rawStatus(gateway.port, "", request)).toBe(401)
      })
    )

    it.effect(
      "byte by byte is received in bounded memory",
      () =>
        must(async (person, gateway) => {
          const sizeBytes = 500_000
          const before = peakBytes(gateway)
          const send = async () => {
            const path = await person.created(sizeBytes)
            const head = [
              ...[`PATCH ${path} HTTP/1.1`, "Host: desk", "Connection: close", `Authorization: Bearer ${person.token}`],
              ...["Tus-Resumable: 1.0.0", "Upload-Offset: 0", `Content-Type: ${content["content-type"]}`],
              ...["Transfer-Encoding: chunked", "", ""]
            ]
            const body = `${"1\r\nx\r\n".repeat(sizeBytes)}0\r\n\r\n`
            return rawAnswer(gateway.port, Buffer.from(`${head.join("\r\n")}${body}`))
          }
          const answers = await Promise.all(Array.from({ length: 3 }, send))
          for (const answer of answers) expect(answer).toContain("204 No Content")
          // Held piece by piece, these would be more than half a gigabyte.
          expect(peakBytes(gateway) - before).toBeLessThan(300 << 20)
        }),
      180_000
    )

    it.effect("of random bytes in the place of a request ends that connection alone", () =>
      must(async (person, gateway) => {
        for (let round = 0; round < 20; round++) await rawAnswer(gateway.port, randomBytes(500), "leaves")
        expect((await person.create(4)).status).toBe(201)
      })
    )
  })
})

interface RawRequest {
  readonly method: string
  readonly path: string
  readonly headers: ReadonlyArray<{ readonly name: string; readonly value: string }>
  readonly body: string
}

/** The most memory that the gateway ever held. */
const peakBytes = ({ pid }: RunningGateway): number =>
  Number(/VmHWM:\s+([0-9]+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024

/** As it is, without a client that would tidy it. */
const rawStatus = async (port: number, token: string, { body, headers, method, path }: RawRequest): Promise<number> => {
  const head = [
    `${method} ${path} HTTP/1.1`,
    "Host: desk",
    "Connection: close",
    `Authorization: Bearer ${token}`,
    ...(headers.some(({ name }) => name === "Tus-Resumable") ? [] : ["Tus-Resumable: 1.0.0"]),
    ...headers.map(({ name, value }) => `${name}: ${value}`),
    `Content-Length: ${body.length}`
  ]
  const answer = await rawAnswer(port, Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`, "latin1"))
  return Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(answer)?.[1] ?? 0)
}

/** A request whose sender closes its side at once counts as given up. */
const rawAnswer = (port: number, bytes: Uint8Array, then: "listens" | "leaves" = "listens"): Promise<string> =>
  new Promise((resolve) => {
    let said = ""
    const socket = connect(port, "127.0.0.1", () => (then === "leaves" ? socket.end(bytes) : socket.write(bytes)))
    socket.on("data", (chunk) => {
      said += chunk
    })
    socket.on("error", () => {})
    socket.on("close", () => resolve(said))
  })
