// The three descriptions of the commands, held to their one definition.
import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { OutcomeUnknown, VersionConflict } from "../src/CommandErrors.ts"
import { commands } from "../src/Commands.ts"
import { CommandId, StreamVersion, TicketId } from "../src/Ids.ts"
import { TicketNotFound } from "../src/ticket/Refusals.ts"
import { commandOpenApi } from "../src/wire/CommandHttpApi.ts"
import { CommandRpcs } from "../src/wire/CommandRpcs.ts"
import { refusalSchemas, retryAfterSeconds, toProblem } from "../src/wire/Problem.ts"
import { protoFile } from "../src/wire/ProtoFile.ts"
import { fromProto, payloadMessages } from "../src/wire/ProtoShape.ts"

const id = "0b2f6f4e-6c5e-4b0c-8d3c-0a1b2c3d4e5f"

describe("every command", () => {
  const spec = commandOpenApi()
  const proto = readFileSync(protoFile, "utf8")

  for (const { name, path } of commands) {
    it(`${name} is described by OpenAPI, RPC and the .proto`, () => {
      expect(Object.keys(spec.paths)).toContain(path.replaceAll(/:(\w+)/g, "{$1}"))
      expect([...CommandRpcs.requests.keys()]).toContain(name)
      expect(proto).toContain(`rpc ${name}(${name}Request) returns (CommandAccepted);`)
    })
  }

  it("is the only thing that they describe", () => {
    expect(Object.keys(spec.paths).length).toBe(commands.length)
    expect(CommandRpcs.requests.size).toBe(commands.length)
    expect(proto.match(/^ {2}rpc /gm)?.length).toBe(commands.length)
  })
})

describe("OpenAPI", () => {
  const spec = commandOpenApi()
  const text = JSON.stringify(spec)
  const isJson = (value: unknown): value is Readonly<Record<string, unknown>> =>
    typeof value === "object" && value !== null

  it("is 3.1, and whatever it refers to is there", () => {
    expect(spec.openapi).toBe("3.1.0")
    for (const [, pointer = ""] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      const found = pointer.split("/").reduce<unknown>((at, key) => (isJson(at) ? at[key] : undefined), spec)
      expect([pointer, typeof found]).toEqual([pointer, "object"])
    }
  })

  it("names each operation once, with its parameters, a bearer token and every refusal as problem details", () => {
    const operations = Object.values(spec.paths).map(({ post }) => post)
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(commands.length)
    for (const operation of operations) {
      expect(operation.security).toEqual([{ bearer: [] }])
      expect(Object.keys(operation.responses ?? {})).toEqual(
        expect.arrayContaining(["200", "400", "401", "403", "409", "503"])
      )
      expect(JSON.stringify(operation.responses?.["503"])).toContain("application/problem+json")
    }
    expect(text).not.toMatch(/Problem_\d/)
  })

  it("declares each parameter of a path", () => {
    for (const [path, { post }] of Object.entries(spec.paths)) {
      const declared = post.parameters?.filter((parameter) => parameter.in === "path").map(({ name }) => name)
      expect(declared).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))
    }
  })
})

describe("problem details", () => {
  it("have a type, a title, a status and the refusal's own fields", () => {
    expect(toProblem(new TicketNotFound({ ticketId: TicketId.make(id) }))).toEqual({
      type: "urn:holdfast:problem:TicketNotFound",
      title: "There is no such ticket, or you may not see it.",
      status: 404,
      ticketId: id
    })
  })

  it("say in whole seconds when repeating helps, and only then", () => {
    expect(retryAfterSeconds(new OutcomeUnknown({ commandId: CommandId.make(id), retryAfterMs: 1200 }))).toBe(2)
    const version = StreamVersion.make(1)
    expect(retryAfterSeconds(new VersionConflict({ expectedVersion: version, actualVersion: version }))).toBeNull()
  })

  it("exist for every refusal, each type once", () => {
    const types = refusalSchemas.map((schema) => schema.identifier)
    expect(new Set(types).size).toBe(types.length)
    expect(commands.every(({ refusals }) => refusals.every((refusal) => types.includes(refusal.identifier)))).toBe(true)
  })
})

describe("a message of protocol buffers", () => {
  const shape = payloadMessages.get("RecordFileStages")
  const payload = commands.find(({ name }) => name === "RecordFileStages")?.payload ?? Schema.Never

  it("becomes the payload that it stands for: a oneof a tagged union, an absent field absent", () => {
    const report = { stage: "convert", tool: { name: "sharp", version: "1" }, durationMs: 0 }
    const thumbnail = { kind: "thumbnail", sha256: "a".repeat(64), sizeBytes: 0, mediaType: "image/png" }
    const message = { fileId: id, stages: [{ ...report, outcome: { converted: { derivatives: [thumbnail] } } }] }
    expect(shape).toBeDefined()
    if (shape === undefined) return
    expect(Schema.decodeUnknownSync(payload)(fromProto(shape, message))).toEqual({
      fileId: id,
      stages: [{ ...report, outcome: { _tag: "Converted", derivatives: [thumbnail] } }]
    })
  })

  it("that is not one is left to the validation", () => {
    if (shape === undefined) return
    expect(fromProto(shape, { stages: [{ outcome: {}, tool: null, stage: 7 }] })).toEqual({
      stages: [{ outcome: {}, stage: 7 }]
    })
  })
})
