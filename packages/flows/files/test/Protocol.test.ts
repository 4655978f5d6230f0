// Reading tus requests: each form of each header, each refusal with the header that it names, and anything else that a client may send.
import { describe, expect, it } from "@effect/vitest"
import { FileId } from "@holdfast/contracts/Ids"
import { Result, Schema } from "effect"
import { answerOf } from "../src/tus/Answer.ts"
import { readChecksum, readConcat, readMetadata } from "../src/tus/HeaderValues.ts"
import { announcement, readRequest, uploadBytesMax } from "../src/tus/Protocol.ts"

const id = FileId.make("0190a1b2-c3d4-7000-8000-000000000001")
const other = FileId.make("0190a1b2-c3d4-7000-8000-000000000002")
const tus = { "tus-resumable": "1.0.0" }
const content = { "content-type": "application/offset+octet-stream", "content-length": "5" }
const sha1 = Buffer.alloc(20).toString("base64")

const read = (method: string, url: string, headers: Record<string, string> = {}) =>
  Result.match(readRequest({ method, url, headers: { ...tus, ...headers } }), {
    onSuccess: (request) => request,
    onFailure: ({ fields, status }) => ({ status, header: fields?.header })
  })
const create = (headers: Record<string, string>) => read("POST", "/files/", { "upload-length": "10", ...headers })
const append = (headers: Record<string, string>) =>
  read("PATCH", `/files/${id}`, { ...content, "upload-offset": "0", ...headers })

describe("a request", () => {
  it("to create is read with what is known of the upload", () => {
    expect(create({ "upload-metadata": "filename YS50eHQ=,is_confidential" })).toEqual({
      type: "Create",
      sizeBytes: 10,
      isPart: false,
      metadata: { filename: "a.txt", is_confidential: null },
      declared: "filename YS50eHQ=,is_confidential",
      content: null
    })
    expect(create({ ...content, "upload-concat": "partial" })).toMatchObject({
      isPart: true,
      content: { sizeBytes: 5, checksum: null }
    })
  })

  it("to concatenate is read with its parts in their order, by absolute and relative URLs, one of them twice", () => {
    const concat = `final;/files/${other} https://desk.example/behind/a/proxy/files/${id} ../files/${other}`
    expect(read("POST", "/files", { "upload-concat": concat })).toMatchObject({
      type: "Concatenate",
      parts: [other, id, other],
      concat
    })
  })

  it("to append is read with where and what", () => {
    expect(append({ "upload-offset": "7", "upload-checksum": `sha1 ${sha1}` })).toEqual({
      type: "Append",
      id,
      offset: 7,
      content: { sizeBytes: 5, checksum: { algorithm: "sha1", digest: Buffer.alloc(20) } }
    })
    const { "content-length": _, ...chunked } = { ...content, "upload-offset": "0", "transfer-encoding": "chunked" }
    expect(read("PATCH", `/files/${id}`, chunked)).toMatchObject({ content: { sizeBytes: null } })
  })

  it.each([
    ["HEAD", "Look"],
    ["DELETE", "Terminate"]
  ])("of the method %s is read", (method, type) => {
    expect(read(method, `/files/${id}?a=b`)).toEqual({ type, id })
  })

  it.each([
    ["POST", "PATCH", 415],
    ["POST", "head", "Look"],
    ["GET", "DELETE", "Terminate"],
    ["PATCH", "OPTIONS", "Announce"],
    ["HEAD", "PUT", 405]
  ])("of the method %s is one of %s when X-HTTP-Method-Override says so", (method, override, expected) => {
    const found = read(method, `/files/${id}`, { "x-http-method-override": override })
    expect("type" in found ? found.type : found.status).toBe(expected)
  })
})

describe("a refusal names the header", () => {
  it.each([
    ["Tus-Resumable", 412, () => create({ "tus-resumable": "0.2.2" })],
    ["Tus-Resumable", 412, () => create({ "tus-resumable": "" })],
    ["Upload-Length", 400, () => read("POST", "/files/")],
    ["Upload-Length", 400, () => create({ "upload-length": "-1" })],
    ["Upload-Length", 400, () => create({ "upload-length": "1e3" })],
    ["Upload-Length", 400, () => create({ "upload-length": "10, 10" })],
    ["Upload-Length", 400, () => append({ "upload-length": "10" })],
    ["Upload-Defer-Length", 501, () => create({ "upload-defer-length": "1" })],
    ["Upload-Defer-Length", 400, () => create({ "upload-defer-length": "2" })],
    ["Upload-Offset", 400, () => read("PATCH", `/files/${id}`, content)],
    ["Upload-Offset", 400, () => append({ "upload-offset": "0x0" })],
    ["Upload-Offset", 400, () => append({ "upload-offset": " 1" })],
    ["Content-Type", 415, () => append({ "content-type": "text/plain" })],
    ["Upload-Metadata", 400, () => create({ "upload-metadata": "" })],
    ["Upload-Metadata", 400, () => create({ "upload-metadata": "a b c" })],
    ["Upload-Metadata", 400, () => create({ "upload-metadata": `a ${"A".repeat(4096)}` })],
    ["Upload-Checksum", 400, () => append({ "upload-checksum": "sha1" })],
    ["Upload-Checksum", 400, () => append({ "upload-checksum": `md5 ${sha1}` })],
    ["Upload-Checksum", 400, () => append({ "upload-checksum": `SHA1 ${sha1}` })],
    ["Upload-Checksum", 400, () => append({ "upload-checksum": `sha256 ${sha1}` })],
    ["Upload-Checksum", 400, () => append({ "upload-checksum": `sha1  ${sha1}` })],
    ["Upload-Concat", 400, () => create({ "upload-concat": "part" })],
    ["Upload-Concat", 400, () => read("POST", "/files/", { "upload-concat": "final;" })],
    ["Upload-Concat", 400, () => read("POST", "/files/", { "upload-concat": "final;/files/../../etc" })],
    ["Upload-Length", 400, () => create({ "upload-concat": `final;/files/${id}` })],
    ["Content-Type", 400, () => read("POST", "/files/", { ...content, "upload-concat": `final;/files/${id}` })]
  ])("%s with %i", (header, status, ask) => {
    expect(ask()).toEqual({ status, header })
  })

  it.each([
    ["PUT", "/files/", 405],
    ["GET", `/files/${id}`, 405],
    ["POST", `/files/${id}`, 405],
    ["PATCH", "/files/", 404],
    ["HEAD", "/files/../../etc/passwd", 404],
    ["HEAD", `/files/${id}.json`, 404],
    ["DELETE", `/files/%2e%2e%2f${id}`, 404]
  ])("or the method or the path: %s %s", (method, url, status) => {
    expect(read(method, url, { ...content, "upload-offset": "0" })).toMatchObject({ status })
  })

  it("or says that it is too large, however many digits that takes", () => {
    for (const length of [String(uploadBytesMax + 1), "9".repeat(400)]) {
      expect(create({ "upload-length": length })).toMatchObject({ status: 413 })
    }
    expect(create({ "upload-length": String(uploadBytesMax) })).toMatchObject({ sizeBytes: uploadBytesMax })
    expect(create({ ...content, "content-length": "11" })).toMatchObject({ status: 413 })
  })
})

describe("whatever is sent", () => {
  const names = [
    ...["tus-resumable", "upload-length", "upload-offset", "upload-metadata", "upload-concat", "upload-checksum"],
    ...["upload-defer-length", "content-type", "content-length", "transfer-encoding", "x-http-method-override"]
  ]
  const values = [
    ...["1.0.0", "0", "-1", "9007199254740993", "1e9", "partial", `final;/files/${id}`, "final; ;", `sha1 ${sha1}`],
    ...["application/offset+octet-stream", "PATCH", "HEAD", "a YQ==,b", "__proto__ YQ==,constructor YQ==", "chunked"]
  ]
  const Header = Schema.Struct({
    name: Schema.Literals(names),
    value: Schema.Union([Schema.String, Schema.Literals(values)])
  })
  const Request = Schema.Struct({
    method: Schema.Literals(["GET", "POST", "PATCH", "HEAD", "DELETE", "PUT", "OPTIONS"]),
    url: Schema.Union([
      Schema.String,
      Schema.Literals(["/files", "/files/", `/files/${id}`, "/files/..", "//files//"])
    ]),
    headers: Schema.Array(Header)
  })

  it.prop(
    "is read or refused as the client's mistake, with a sentence",
    [Request],
    ([{ headers, method, url }]) => {
      const given = Object.fromEntries(headers.map(({ name, value }) => [name, value]))
      const found = readRequest({ method, url, headers: { ...tus, ...given } })
      if (Result.isSuccess(found)) return
      expect([400, 404, 405, 412, 413, 415, 501]).toContain(found.failure.status)
      expect(found.failure.title).toMatch(/^[A-Z].*\.$/s)
    },
    { arbitrary: { runs: 2000 } }
  )

  const Pairs = Schema.Record(
    Schema.String.check(Schema.isPattern(/^[\x21-\x2b\x2d-\x7e]{1,20}$/)),
    Schema.NullOr(Schema.NonEmptyString)
  )
  it.prop(
    "metadata that was written is read as it was",
    [Pairs],
    ([pairs]) => {
      const entries = Object.entries(pairs).map(([key, value]) => [key, value === null ? null : value.toWellFormed()])
      const text = entries
        .map(([key, value]) => (value ? `${key} ${Buffer.from(value).toString("base64")}` : key))
        .join(",")
      if (entries.length === 0 || text.length > 4096) return
      expect(readMetadata(text)).toEqual(Result.succeed(Object.fromEntries(entries)))
    },
    { arbitrary: { runs: 200 } }
  )

  it.prop("no value of a header makes a reader throw", [Schema.String], ([text]) => {
    for (const reader of [readMetadata, readChecksum, readConcat]) expect(Result.isResult(reader(text))).toBe(true)
  })

  it("metadata is only data, also under the names that objects have", () => {
    const found = Result.getOrThrow(readMetadata("__proto__ YQ==,constructor YQ==,toString"))
    expect(Object.entries(found)).toEqual([
      ["__proto__", "a"],
      ["constructor", "a"],
      ["toString", null]
    ])
  })
})

describe("an answer", () => {
  it("says where a new upload is, what came with the request and until when it is kept", () => {
    expect(answerOf({ type: "Created", id, offset: 5, expiresAtMs: 0 })).toEqual({
      status: 201,
      headers: { location: `/files/${id}`, "upload-offset": "5", "upload-expires": "Thu, 01 Jan 1970 00:00:00 GMT" }
    })
    expect(answerOf({ type: "Created", id, offset: null, expiresAtMs: null }).headers).toEqual({
      location: `/files/${id}`
    })
  })

  it("tells again what was said of the upload, and is not kept by anybody on the way", () => {
    expect(
      answerOf({ type: "Found", offset: 0, sizeBytes: 10, declared: "filename YQ==", concat: "partial" }).headers
    ).toEqual({
      "cache-control": "no-store",
      "upload-offset": "0",
      "upload-length": "10",
      "upload-metadata": "filename YQ==",
      "upload-concat": "partial"
    })
  })

  it("to the question what can be done here is a list of what is done", () => {
    expect(announcement).toEqual({
      "tus-resumable": "1.0.0",
      "tus-version": "1.0.0",
      "tus-extension": "creation,creation-with-upload,termination,expiration,checksum,concatenation",
      "tus-max-size": String(uploadBytesMax),
      "tus-checksum-algorithm": "sha1,sha256"
    })
  })
})
