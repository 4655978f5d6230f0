// Encoded events are pinned: a change of any encoding fails here. Such a change is a new schema version with an upcaster, and the old
// golden file stays.
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { decodeEnvelope, encodeEnvelope } from "../src/CloudEvent.ts"
import { Envelope } from "../src/Envelope.ts"
import { eventTypes } from "../src/EventVersions.ts"
import { Position } from "../src/Ids.ts"
import { samples } from "./Samples.ts"

const folder = join(import.meta.dirname, "golden")
const golden = (type: string) => readFileSync(join(folder, `${type}.json`), "utf8")
const changed = (encoded: string, change: Record<string, unknown>) =>
  JSON.stringify({ ...JSON.parse(encoded), ...change })
const first = samples.map(encodeEnvelope)[0] ?? ""
const failureOf = (encoded: string) => {
  const result = decodeEnvelope(encoded)
  return Result.isFailure(result) ? result.failure : undefined
}

describe("golden files", () => {
  it("there is one for every event type, and no other", () => {
    expect(readdirSync(folder).sort()).toEqual(eventTypes.map((type) => `${type}.json`).sort())
    expect(samples.map(({ event }) => event._tag).sort()).toEqual([...eventTypes].sort())
  })

  for (const sample of samples) {
    it(`${sample.event._tag} is encoded as ever`, () => {
      expect(`${JSON.stringify(JSON.parse(encodeEnvelope(sample)), null, 2)}\n`).toBe(golden(sample.event._tag))
    })

    it(`${sample.event._tag} is read back from its golden file`, () => {
      expect(Result.getOrThrow(decodeEnvelope(golden(sample.event._tag)))).toEqual(sample)
    })
  }
})

describe("CloudEvents 1.0", () => {
  for (const sample of samples) {
    it(`${sample.event._tag} has only attributes with lawful names and simple values`, () => {
      const { data, ...attributes } = JSON.parse(encodeEnvelope(sample))
      expect(data).toBeTypeOf("object")
      for (const [name, value] of Object.entries(attributes)) {
        expect(name).toMatch(/^[a-z0-9]{1,20}$/)
        expect(typeof value === "string" || (Number.isInteger(value) && Number(value) < 2 ** 31)).toBe(true)
      }
      for (const required of ["specversion", "id", "source", "type"]) expect(attributes[required]).toBeTruthy()
    })
  }
})

describe("reading what others wrote", () => {
  it("ignores attributes that it does not know", () => {
    expect(Result.isSuccess(decodeEnvelope(changed(first, { partitionkey: "x" })))).toBe(true)
  })

  it.each([
    ["not JSON", "{", "EnvelopeUnreadable"],
    ["not an object", "null", "EnvelopeUnreadable"],
    ["another CloudEvent", changed(first, { source: "/elsewhere" }), "EnvelopeUnreadable"],
    ["a position that is no number", changed(first, { position: "twelve" }), "EnvelopeUnreadable"],
    ["a negative position", changed(first, { position: "-1" }), "EnvelopeUnreadable"],
    ["a forged traceparent", changed(first, { traceparent: "00-x" }), "EnvelopeUnreadable"],
    ["an unknown event", changed(first, { type: "holdfast.ticket.TicketEaten" }), "EventUnreadable"],
    ["a newer version", changed(first, { schemaversion: 2 }), "EventUnreadable"],
    ["broken data", changed(first, { data: { ticketId: 7 } }), "EventUnreadable"]
  ])("%s is a typed failure", (_, encoded, tag) => {
    expect(failureOf(encoded)?._tag).toBe(tag)
  })

  it("never repeats a value of the event in the failure", () => {
    expect(JSON.stringify(failureOf(changed(first, { data: { body: "secret", number: "secret" } })))).not.toContain(
      "secret"
    )
  })
})

it.prop("any envelope is the same after the journey", [Envelope], ([envelope]) => {
  const sane = {
    ...envelope,
    schemaVersion: 1,
    position: Position.make(Math.min(envelope.position, Number.MAX_SAFE_INTEGER)),
    streamType: envelope.event._tag.startsWith("File") && envelope.event._tag !== "FileAttached" ? "file" : "ticket"
  } as const
  const back = Result.getOrThrow(decodeEnvelope(encodeEnvelope(sane)))
  expect(Schema.encodeSync(Envelope)(back)).toEqual(Schema.encodeSync(Envelope)(sane))
})
