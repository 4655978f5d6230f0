// What an upload does next: from any break it asks the desk where it is, and it sends each byte that the desk does not have.
import { describe, expect, it } from "vitest"
import {
  type Answer,
  afterAnswer,
  afterAttach,
  chunkBytes,
  fingerprintOf,
  keptUploads,
  newUpload,
  paused,
  resumed,
  stepOf,
  type Upload,
  uploadsFrom,
  waits
} from "../src/page/uploadPlan.js"

const file = { name: "report.pdf", type: "application/pdf", size: chunkBytes + 10, lastModified: 7 }
const fresh = newUpload(file, "ticket", "attach", "public")
const base = "https://files.desk.example/files/"
const answer = (status: number, headers: Answer["headers"] = {}): Answer => ({ status, headers, title: "Why." })
const next = (upload: Upload, status: number, headers: Answer["headers"] = {}) =>
  afterAnswer(upload, stepOf(upload), answer(status, headers), base)
const created = next(fresh, 201, { location: "/files/f1" })

describe("an upload", () => {
  it("is created, sent in chunks from where the desk has it, then attached", () => {
    expect(stepOf(fresh)).toEqual({ do: "create" })
    const url = "https://files.desk.example/files/f1"
    expect(stepOf(created)).toEqual({ do: "send", url, from: 0, to: chunkBytes })
    const half = next(created, 204, { offset: String(chunkBytes) })
    expect(stepOf(half)).toEqual({ do: "send", url, from: chunkBytes, to: file.size })
    const whole = next(half, 204, { offset: String(file.size) })
    expect(stepOf(whole)).toEqual({ do: "attach" })
    expect(stepOf(afterAttach(whole, { kind: "accepted" }))).toEqual({ do: "nothing" })
  })

  it("of no bytes is attached at once", () => {
    const empty = newUpload({ ...file, size: 0 }, "ticket", "attach", "public")
    expect(stepOf(next(empty, 201, { location: "/files/f1" }))).toEqual({ do: "attach" })
  })

  it("asks where it is after whatever broke", () => {
    const look = { do: "look", url: created.url }
    expect(stepOf(resumed(waits(created, "cut")))).toEqual(look)
    expect(stepOf(resumed(paused(created)))).toEqual(look)
    expect(stepOf(next(created, 409))).toEqual(look)
    expect(stepOf(resumed(next(created, 503, { retryAfter: "5" })))).toEqual(look)
    const found = next(resumed(paused(created)), 200, { offset: "3" })
    expect(stepOf(found)).toMatchObject({ do: "send", from: 3 })
  })

  it("does nothing while it is paused, and keeps what was answered meanwhile", () => {
    expect(stepOf(paused(created))).toEqual({ do: "nothing" })
    expect(stepOf(paused(fresh))).toEqual({ do: "nothing" })
    const late = afterAnswer(paused(fresh), { do: "create" }, answer(201, { location: "/files/f1" }), base)
    expect(late).toMatchObject({ phase: "paused", url: "https://files.desk.example/files/f1" })
  })

  it("begins anew when the desk has forgotten it, and ends when it is refused", () => {
    expect(stepOf(next(created, 404))).toEqual({ do: "create" })
    expect(stepOf(next(created, 410))).toEqual({ do: "create" })
    for (const status of [401, 403, 413, 415]) {
      expect(next(fresh, status)).toMatchObject({ phase: "refused", sentence: "Why." })
    }
  })

  it("waits longer with each failure in a row, never beyond a bound, and at least as long as it was told", () => {
    let upload = created
    const waited = Array.from({ length: 9 }, () => {
      upload = waits({ ...upload, phase: "sending" }, "cut")
      return upload.retryAfterMs
    })
    expect(waited).toEqual(waited.toSorted((one, other) => one - other))
    expect(waited.at(-1)).toBe(10_000)
    expect(next(created, 507, { retryAfter: "60" }).retryAfterMs).toBe(60_000)
    expect(next({ ...created, failures: 5 }, 204, { offset: "3" }).failures).toBe(0)
  })

  it("is attached again under the same commandId until that is answered", () => {
    const whole = next(created, 204, { offset: String(file.size) })
    const away = afterAttach(whole, { kind: "away", sentence: "Away.", retryAfterMs: 9 })
    expect(stepOf(away)).toEqual({ do: "nothing" })
    expect(stepOf(resumed(away))).toEqual({ do: "attach" })
    expect(resumed(away).attachId).toBe("attach")
    expect(afterAttach(whole, { kind: "refused", sentence: "Closed." })).toMatchObject({ phase: "refused" })
  })
})

describe("after a reload", () => {
  it("the same file is the same upload, another is not", () => {
    expect(fingerprintOf(file, "ticket")).toBe(created.fingerprint)
    expect(fingerprintOf({ ...file, lastModified: 8 }, "ticket")).not.toBe(created.fingerprint)
    expect(fingerprintOf(file, "other")).not.toBe(created.fingerprint)
  })

  it("what is unfinished waits for its file, what is only to be attached does not, what is done is forgotten", () => {
    const whole = next(created, 204, { offset: String(file.size) })
    const done = afterAttach(whole, { kind: "accepted" })
    const refused = next(fresh, 413)
    const read = uploadsFrom(keptUploads([created, whole, done, refused]))
    expect(read.map(({ phase }) => phase)).toEqual(["paused", "uploaded"])
    expect(read[0]?.url).toBe(created.url)
    expect(uploadsFrom("{")).toEqual([])
    expect(uploadsFrom(null)).toEqual([])
  })
})
