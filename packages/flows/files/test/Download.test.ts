// Downloads over real connections: conditions, ranges and what is said of the content, each as RFC 9110 has it; and what happens when the
// client leaves, comes too often, or the content is damaged.
import { createHash, randomBytes } from "node:crypto"
import { createServer, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http"
import type { AddressInfo } from "node:net"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { describe, expect, layer } from "@effect/vitest"
import { FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { signLink } from "@holdfast/domain/attachment/DownloadLink"
import { Files } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { BlobCorrupt, BlobNotFound, type BlobStore, Released, Withdrawn } from "@holdfast/storage/BlobStore"
import { makeSignals, type Signals } from "@holdfast/testkit/Signals"
import { Context, Effect, Layer, Redacted, Stream } from "effect"
import { HttpRouter } from "effect/http"
import * as Download from "../src/Download.ts"
import * as Transfers from "../src/Transfers.ts"

const key = Redacted.make("a key for tests, of more than 32 characters")
const fileId = FileId.make("0190a1b2-c3d4-7000-8000-000000000001")
const sha256Of = (bytes: Uint8Array) => Sha256.make(createHash("sha256").update(bytes).digest("hex"))

const pieceBytes = 64 << 10

/** What is released, and what becomes of its reads. */
class Shelves {
  readonly contents = new Map<string, Buffer>()
  readonly damaged = new Set<string>()
  readonly shortened = new Set<string>()
  readonly withdrawn = new Set<string>()
  readonly signals: Signals
  isAway = false
  constructor(signals: Signals) {
    this.signals = signals
  }

  readonly put = (bytes: Buffer): Sha256 => {
    this.contents.set(sha256Of(bytes), bytes)
    return sha256Of(bytes)
  }

  readonly store: BlobStore = {
    put: () => Effect.die("a download puts nothing"),
    remove: () => Effect.die("a download removes nothing"),
    sizeBytes: (sha256) =>
      Effect.gen({ self: this }, function* () {
        if (this.isAway) {
          return yield* new Unavailable({ dependency: "storage", reason: "timeout", retryAfterMs: 1, detail: "" })
        }
        const bytes = this.contents.get(sha256)
        return bytes === undefined ? yield* new BlobNotFound({ key: sha256 }) : bytes.length
      }),
    read: (sha256, range) => {
      const all = this.contents.get(sha256) ?? Buffer.alloc(0)
      const wanted = range === undefined ? all : all.subarray(range.start, range.end + 1)
      const given = this.shortened.has(sha256) ? wanted.subarray(0, wanted.length >> 1) : wanted
      const pieces = Stream.unfold(0, (at) =>
        Effect.succeed(
          at >= given.length ? undefined : ([given.subarray(at, at + pieceBytes), at + pieceBytes] as const)
        )
      )
      const end = this.damaged.has(sha256) ? Stream.fail(new BlobCorrupt({ key: sha256 })) : Stream.empty
      return Stream.concat(pieces, end).pipe(Stream.ensuring(this.signals.send(`read of ${sha256} ended`)))
    }
  }
}

const withdrawnIn = (shelves: Shelves) =>
  Layer.succeed(Withdrawn, {
    add: () => Effect.die("a download withdraws nothing"),
    has: (id) =>
      shelves.isAway
        ? Effect.fail(new Unavailable({ dependency: "storage", reason: "timeout", retryAfterMs: 1, detail: "" }))
        : Effect.succeed(shelves.withdrawn.has(id))
  })

class World extends Context.Service<World, { readonly shelves: Shelves; readonly port: number }>()("test/World") {}

/** What uploads go through, as it is when there is room for no more of them. */
const uploadsTakeAll = Transfers.layer({
  underWayMax: 0,
  perPrincipalMax: 0,
  bytesPerSecondMax: 1,
  bytesPerSecondPerPrincipalMax: 1
})

const world = Layer.unwrap(
  Effect.gen(function* () {
    const shelves = new Shelves(yield* makeSignals)
    const server = createServer()
    const limits = { ...Download.limitsDefault, perPrincipalMax: 2 }
    const serving = HttpRouter.serve(Download.layer(key, limits), { disableListenLog: true, disableLogger: true }).pipe(
      Layer.provide(
        NodeHttpServer.layer(() => server, { port: 0, host: "127.0.0.1", gracefulShutdownTimeout: "100 millis" })
      ),
      Layer.provide([Layer.succeed(Released, shelves.store), withdrawnIn(shelves), uploadsTakeAll])
    )
    const listening = Layer.effect(
      World,
      Effect.sync(() => ({ shelves, port: (server.address() as AddressInfo).port }))
    )
    return Layer.provideMerge(listening, serving)
  })
)

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** Whether the answer came to its end. */
  readonly isWhole: boolean
}

interface Question {
  readonly sha256: Sha256
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly claims?: { readonly name?: string; readonly mediaType?: string; readonly principalId?: PrincipalId }
}

const pathOf = ({ claims, sha256 }: Question) =>
  `/download/${fileId}?${signLink(key, {
    fileId,
    sha256,
    name: "a.bin",
    mediaType: "application/octet-stream",
    principalId: PrincipalId.make("ada"),
    expiresAtSeconds: Math.floor(Date.now() / 1000) + 600,
    ...claims
  })}`

const open = (port: number, question: Question) =>
  new Promise<IncomingMessage>((resolve, reject) => {
    const { headers = {}, method = "GET" } = question
    request({ host: "127.0.0.1", port, path: pathOf(question), method, headers, agent: false }, resolve)
      .on("error", reject)
      .end()
  })

const ask = (question: Question) => World.use(({ port }) => Effect.promise(() => answerTo(port, question)))

/** A connection that ends before all of an answer has come is an answer too, to be judged. */
const answerTo = async (port: number, question: Question): Promise<Answer> => {
  const chunks: Array<Buffer> = []
  let [status, headers, isWhole]: [number, IncomingHttpHeaders, boolean] = [0, {}, false]
  try {
    const answer = await open(port, question)
    status = answer.statusCode ?? 0
    headers = answer.headers
    for await (const chunk of answer) chunks.push(chunk)
    isWhole = true
  } catch (error) {
    expect(error).toMatchObject({ code: "ECONNRESET" })
  }
  return { status, headers, body: Buffer.concat(chunks), isWhole }
}

const put = (bytes: Buffer) => World.use(({ shelves }) => Effect.sync(() => shelves.put(bytes)))
const digits = Buffer.from(Array.from({ length: 1000 }, (_, at) => at % 10).join(""))
const ranged = (sha256: Sha256, range: string, more: Readonly<Record<string, string>> = {}) =>
  ask({ sha256, headers: { range, ...more } })

/** The parts of a `multipart/byteranges` body, read by the rules of MIME. */
const partsOf = ({ body, headers }: Answer) => {
  const boundary = /^multipart\/byteranges; boundary=([A-Za-z0-9-]{1,70})$/.exec(headers["content-type"] ?? "")?.[1]
  const text = body.toString("latin1")
  expect(text.endsWith(`\r\n--${boundary}--\r\n`)).toBe(true)
  return text
    .split(`\r\n--${boundary}`)
    .slice(1, -1)
    .map((part) => {
      const [head = "", content] = part.split("\r\n\r\n")
      return { head: head.trim().split("\r\n"), content }
    })
}

layer(world, { excludeTestServices: true, timeout: "20 seconds" })("a download", (it) => {
  describe("of the whole", () => {
    it.effect("says what it is and how it may be used", () =>
      Effect.gen(function* () {
        const sha256 = yield* put(digits)
        const { body, headers, status } = yield* ask({ sha256, claims: { name: "a.html", mediaType: "text/html" } })
        expect([status, body.equals(digits)]).toEqual([200, true])
        expect(headers).toMatchObject({
          "content-length": "1000",
          "content-type": "text/html",
          "accept-ranges": "bytes",
          etag: `"${sha256}"`,
          "repr-digest": `sha-256=:${createHash("sha256").update(digits).digest("base64")}:`,
          "content-disposition": `attachment; filename="a.html"; filename*=UTF-8''a.html`,
          "content-security-policy": "sandbox; default-src 'none'",
          "x-content-type-options": "nosniff",
          "cache-control": "private, no-cache"
        })
      })
    )

    it.effect.each(["text/html", "image/svg+xml", "application/pdf", "text/plain", "application/xhtml+xml"])(
      "is kept and not shown unless it is a picture that was encoded anew: %s",
      (mediaType) =>
        Effect.gen(function* () {
          const { headers } = yield* ask({ sha256: yield* put(digits), claims: { mediaType } })
          expect(headers["content-disposition"]).toMatch(/^attachment;/)
        })
    )

    it.effect("shows a picture that was encoded anew", () =>
      Effect.gen(function* () {
        const { headers } = yield* ask({
          sha256: yield* put(digits),
          claims: { mediaType: "image/png", name: "a.png" }
        })
        expect(headers["content-disposition"]).toBe(`inline; filename="a.png"; filename*=UTF-8''a.png`)
      })
    )

    it.effect("has a harmless name whatever the file was called", () =>
      Effect.gen(function* () {
        const claims = { name: '../"a";\u202Egpj.exe%0d%0a' }
        const { headers, status } = yield* ask({ sha256: yield* put(digits), claims })
        expect(status).toBe(200)
        expect(headers["content-disposition"]).toBe(
          `attachment; filename="__a_;gpj.exe_0d_0a"; filename*=UTF-8''_%22a%22%3Bgpj.exe%250d%250a`
        )
      })
    )

    it.effect("has a budget of its own, whatever uploads take", () =>
      Effect.gen(function* () {
        const { body, status } = yield* ask({ sha256: yield* put(randomBytes(1 << 20)) })
        expect([status, body.length]).toEqual([200, 1 << 20])
      })
    )

    it.effect("of nothing is nothing", () =>
      Effect.gen(function* () {
        const { body, headers, status } = yield* ask({ sha256: yield* put(Buffer.alloc(0)) })
        expect([status, body.length, headers["content-length"]]).toEqual([200, 0, "0"])
      })
    )

    it.effect("is told by HEAD without its bytes, and HEAD knows no ranges", () =>
      Effect.gen(function* () {
        const sha256 = yield* put(digits)
        const got = yield* ask({ sha256 })
        const told = yield* ask({ sha256, method: "HEAD", headers: { range: "bytes=0-9" } })
        expect([told.status, told.body.length]).toEqual([200, 0])
        for (const name of [
          "content-length",
          "content-type",
          "etag",
          "content-disposition",
          "accept-ranges"
        ] as const) {
          expect([name, told.headers[name]]).toEqual([name, got.headers[name]])
        }
      })
    )

    it.effect("is not to be had by another method, and says by which", () =>
      Effect.gen(function* () {
        const sha256 = yield* put(digits)
        for (const method of ["POST", "PUT", "DELETE", "PATCH"]) {
          const { headers, status } = yield* ask({ sha256, method })
          expect([method, status, headers.allow]).toEqual([method, 405, "GET, HEAD"])
        }
      })
    )

    it.effect("of what was never released is not there", () =>
      Effect.gen(function* () {
        expect((yield* ask({ sha256: sha256Of(Buffer.from("never released")) })).status).toBe(404)
      })
    )

    it.effect("is to be asked for again while the storage is away", () =>
      Effect.gen(function* () {
        const { shelves } = yield* World
        const sha256 = yield* put(digits)
        shelves.isAway = true
        const { headers, status } = yield* Effect.ensuring(
          ask({ sha256 }),
          Effect.sync(() => {
            shelves.isAway = false
          })
        )
        expect([status, headers["retry-after"]]).toEqual([503, "5"])
      })
    )
  })

  describe("under a condition", () => {
    it.effect("is not sent to whoever has it (If-None-Match)", () =>
      Effect.gen(function* () {
        const sha256 = yield* put(digits)
        for (const tag of [`"${sha256}"`, `W/"${sha256}"`, `"other", "${sha256}"`, "*"]) {
          for (const method of ["GET", "HEAD"]) {
            const { body, headers, status } = yield* ask({ sha256, method, headers: { "if-none-match": tag } })
            expect([tag, status, body.length, headers.etag]).toEqual([tag, 304, 0, `"${sha256}"`])
          }
        }
        expect((yield* ask({ sha256, headers: { "if-none-match": '"other"' } })).status).toBe(200)
        expect((yield* ranged(sha256, "bytes=0-1", { "if-none-match": `"${sha256}"` })).status).toBe(304)
      })
    )

    it.effect("is refused to whoever wants another content (If-Match)", () =>
      Effect.gen(function* () {
        const sha256 = yield* put(digits)
        expect((yield* ask({ sha256, headers: { "if-match": '"other"' } })).status).toBe(412)
        expect((yield* ask({ sha256, headers: { "if-match": `W/"${sha256}"` } })).status).toBe(412)
        expect((yield* ask({ sha256, headers: { "if-match": `"other", "${sha256}"` } })).status).toBe(200)
        expect((yield* ask({ sha256, headers: { "if-match": "*" } })).status).toBe(200)
      })
    )

    it.effect("gives a part only of the content that the client has a part of (If-Range)", () =>
      Effect.gen(function* () {
        const sha256 = yield* put(digits)
        expect((yield* ranged(sha256, "bytes=0-1", { "if-range": `"${sha256}"` })).status).toBe(206)
        for (const other of ['"other"', `W/"${sha256}"`, "Wed, 21 Oct 2015 07:28:00 GMT", sha256]) {
          const { body, status } = yield* ranged(sha256, "bytes=0-1", { "if-range": other })
          expect([other, status, body.length]).toEqual([other, 200, 1000])
        }
        expect((yield* ranged(sha256, "bytes=5000-", { "if-range": '"other"' })).status).toBe(200)
      })
    )
  })

  describe("of a part", () => {
    it.effect.each([
      ["bytes=100-199", "bytes 100-199/1000", 100, 200],
      ["bytes=990-", "bytes 990-999/1000", 990, 1000],
      ["bytes=-10", "bytes 990-999/1000", 990, 1000],
      ["bytes=0-5000", "bytes 0-999/1000", 0, 1000],
      ["bytes=0-4,3-9", "bytes 0-9/1000", 0, 10]
    ] as const)("is that part: %s", ([range, place, start, end]) =>
      Effect.gen(function* () {
        const { body, headers, status } = yield* ranged(yield* put(digits), range)
        expect([status, headers["content-range"], headers["content-length"]]).toEqual([206, place, String(end - start)])
        expect(body.equals(digits.subarray(start, end))).toBe(true)
        expect(headers["x-content-type-options"]).toBe("nosniff")
      })
    )

    it.effect("that lies beyond the end is refused with the length", () =>
      Effect.gen(function* () {
        const { headers, status } = yield* ranged(yield* put(digits), "bytes=1000-")
        expect([status, headers["content-range"]]).toEqual([416, "bytes */1000"])
      })
    )

    it.effect("that is not valid, or of another unit, is the whole", () =>
      Effect.gen(function* () {
        const sha256 = yield* put(digits)
        for (const range of ["bytes=9-1", "lines=1-2", "bytes=a"]) {
          const { body, headers, status } = yield* ranged(sha256, range)
          expect([status, body.length, headers["content-range"]]).toEqual([200, 1000, undefined])
        }
      })
    )

    it.effect("goes on where a download broke off", () =>
      Effect.gen(function* () {
        const { port, shelves } = yield* World
        const content = randomBytes(3_000_000)
        const sha256 = shelves.put(content)
        const first = yield* Effect.promise(async () => {
          const answer = await open(port, { sha256 })
          const chunks: Array<Buffer> = []
          for await (const chunk of answer) {
            chunks.push(chunk)
            if (Buffer.concat(chunks).length > 1_000_000) break
          }
          answer.destroy()
          return Buffer.concat(chunks)
        })
        const rest = yield* ranged(sha256, `bytes=${first.length}-`, { "if-range": `"${sha256}"` })
        expect(rest.status).toBe(206)
        expect(sha256Of(Buffer.concat([first, rest.body]))).toBe(sha256)
      })
    )
  })

  describe("of several parts", () => {
    it.effect("brings each with its type and place, in the order in which they were asked for", () =>
      Effect.gen(function* () {
        const sha256 = yield* put(digits)
        const answer = yield* ask({
          sha256,
          headers: { range: "bytes=900-909, 0-9, 5000-, -1" },
          claims: { mediaType: "text/plain" }
        })
        expect([answer.status, answer.headers["content-range"]]).toEqual([206, undefined])
        expect(answer.headers["content-length"]).toBe(String(answer.body.length))
        expect(answer.headers["x-content-type-options"]).toBe("nosniff")
        const place = (where: string) => ["Content-Type: text/plain", `Content-Range: bytes ${where}/1000`]
        expect(partsOf(answer)).toEqual([
          { head: place("900-909"), content: "0123456789" },
          { head: place("0-9"), content: "0123456789" },
          { head: place("999-999"), content: "9" }
        ])
      })
    )

    it.effect("that overlap sends no byte twice", () =>
      Effect.gen(function* () {
        const { body, headers } = yield* ranged(yield* put(digits), "bytes=0-499,100-299,250-599,-500")
        expect([headers["content-range"], body.length]).toEqual(["bytes 0-999/1000", 1000])
      })
    )

    it.effect("that are too many is the whole, once", () =>
      Effect.gen(function* () {
        const sha256 = yield* put(Buffer.alloc(100_000, "x"))
        const many = Array.from({ length: Files.downloadRangesMax + 1 }, (_, at) => `${at * 200}-${at * 200}`)
        const { body, status } = yield* ranged(sha256, `bytes=${many.join(",")}`)
        expect([status, body.length]).toEqual([200, 100_000])
      })
    )

    it.effect("of which none is there is refused", () =>
      Effect.gen(function* () {
        expect((yield* ranged(yield* put(digits), "bytes=1000-,2000-3000")).status).toBe(416)
      })
    )
  })

  describe("of a file that was withdrawn", () => {
    it.effect("is refused by every link, also while the content is there for another file", () =>
      Effect.gen(function* () {
        const { shelves } = yield* World
        const sha256 = yield* put(digits)
        const etag = `"${sha256}"`
        shelves.withdrawn.add(fileId)
        for (const more of [{}, { range: "bytes=0-9" }, { "if-none-match": etag }]) {
          const { body, headers, status } = yield* ask({ sha256, headers: more })
          expect([status, JSON.parse(body.toString())]).toMatchObject([
            410,
            { type: "urn:holdfast:problem:FileWithdrawn" }
          ])
          expect(headers["cache-control"]).toBe("no-store")
        }
        expect((yield* ask({ sha256, method: "HEAD" })).status).toBe(410)
        shelves.withdrawn.delete(fileId)
        expect((yield* ask({ sha256 })).status).toBe(200)
      })
    )
  })

  describe("that cannot be finished", () => {
    it.effect("because the client left ends the read, and is no transfer of its any more", () =>
      Effect.gen(function* () {
        const { port, shelves } = yield* World
        const content = randomBytes(32 << 20)
        const sha256 = shelves.put(content)
        const claims = { principalId: PrincipalId.make("leaves") }
        for (let times = 1; times <= 4; times++) {
          const answer = yield* Effect.promise(() => open(port, { sha256, claims }))
          expect(answer.statusCode).toBe(200)
          answer.destroy()
          yield* shelves.signals.wait(`read of ${sha256} ended`, times)
        }
      })
    )

    it.effect("because the content is damaged breaks off, and does not look finished", () =>
      Effect.gen(function* () {
        const { shelves } = yield* World
        const sha256 = yield* put(randomBytes(200_000))
        shelves.damaged.add(sha256)
        expect((yield* ask({ sha256 })).isWhole).toBe(false)
      })
    )

    it.effect("because damage is found before its first byte is refused in plain words", () =>
      Effect.gen(function* () {
        const { shelves } = yield* World
        const sha256 = yield* put(Buffer.from("one piece"))
        shelves.contents.set(sha256, Buffer.alloc(0))
        shelves.damaged.add(sha256)
        const { body, status } = yield* ask({ sha256 })
        expect([status, JSON.parse(body.toString())]).toMatchObject([
          500,
          { type: "urn:holdfast:problem:ContentDamaged" }
        ])
      })
    )

    it.effect("because less is there than was said breaks off instead of leaving the connection waiting", () =>
      Effect.gen(function* () {
        const { shelves } = yield* World
        const sha256 = yield* put(randomBytes(200_000))
        shelves.shortened.add(sha256)
        expect((yield* ask({ sha256 })).isWhole).toBe(false)
        expect((yield* ranged(sha256, "bytes=0-99999")).isWhole).toBe(false)
      })
    )

    it.effect("because the client has too many under way is refused with a time to come again", () =>
      Effect.gen(function* () {
        const { port, shelves } = yield* World
        const sha256 = shelves.put(randomBytes(32 << 20))
        const question = { sha256, claims: { principalId: PrincipalId.make("greedy") } }
        const held = yield* Effect.promise(() => Promise.all([open(port, question), open(port, question)]))
        const { headers, status } = yield* ask(question)
        expect([status, headers["retry-after"]]).toEqual([429, "5"])
        expect((yield* ask({ ...question, method: "HEAD" })).status).toBe(200)
        const other = yield* ask({ sha256: yield* put(digits), claims: { principalId: PrincipalId.make("modest") } })
        expect(other.status).toBe(200)
        for (const answer of held) answer.destroy()
        yield* shelves.signals.wait(`read of ${sha256} ended`, 2)
      })
    )
  })
})
