// What is found inside files, what cannot be looked into, and bounds that a hostile file meets.
import { mkdtemp, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import { Health } from "@holdfast/resilience/Health"
import { confinement } from "@holdfast/sandbox/Sandbox"
import { nestedZip, tar, zip, zipOf } from "@holdfast/testkit/hostile/Archives"
import { docx, mail, pdf } from "@holdfast/testkit/hostile/Documents"
import { pngBomb } from "@holdfast/testkit/hostile/Pictures"
import { Duration, Effect, Layer, Stream } from "effect"
import { Inspector } from "../src/Inspector.ts"
import * as InspectorProcess from "../src/InspectorProcess.ts"
import { eicar } from "./ScannerContract.ts"

const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-inspector-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

const inspect = (bytes: Buffer, options: InspectorProcess.InspectorOptions = {}) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const request = { content: Stream.make(bytes), head: bytes.subarray(0, 65_536), tail: bytes.subarray(-67_584) }
    const layer = InspectorProcess.layer({ folder, ...options }).pipe(Layer.provide(Health.layer))
    const inspection = yield* Inspector.use((inspector) => inspector.inspect(request)).pipe(
      Effect.provide(layer),
      Effect.ensuring(
        Effect.promise(async () => {
          expect(await readdir(folder)).toEqual([])
        })
      )
    )
    return inspection
  }).pipe(Effect.scoped)

const child = (name: string) => fileURLToPath(new URL(`./children/${name}.ts`, import.meta.url))
const secret = zip([{ name: "a", content: Buffer.from("a secret of some length"), isEncrypted: true }])
const picture = pngBomb()
const unusual = zipOf([{ name: "a", method: 12, flags: 0, packed: Buffer.from("BZh9"), checksum: 0, sizeBytes: 4 }])

describe("the inspector", () => {
  it.live("names how it is confined", () =>
    Effect.gen(function* () {
      const { tool } = yield* inspect(Buffer.from("Dear desk"))
      expect(tool).toEqual({ name: `holdfast-inspect/${yield* confinement}`, version: "1" })
    })
  )

  it.live.each([
    ["text", Buffer.from("Dear desk")],
    ["a ZIP", zip([{ name: "a.txt", content: Buffer.from("a") }])],
    ["a ZIP behind something else", zip([{ name: "a.txt", content: Buffer.from("a") }], Buffer.from("front"))],
    ["a tar in a gzip", gzipSync(tar([{ name: "folder/a.txt", content: Buffer.alloc(2000, 1) }]))],
    ["archives in archives", nestedZip(Buffer.from("a"), 4, 2)],
    ["an office document", docx()],
    ["a PDF", pdf()],
    ["an e-mail", mail(zip([{ name: "a.txt", content: Buffer.from("a") }]), "a.zip")]
  ] as const)("passes %s", ([, bytes]) =>
    Effect.gen(function* () {
      expect(yield* inspect(bytes)).toMatchObject({ _tag: "Passed" })
    })
  )

  it.live.each([
    ["an encrypted entry", secret, "encrypted"],
    ["an encrypted entry far inside", gzipSync(tar([{ name: "a.zip", content: secret }])), "encrypted"],
    ["an unusual method", unusual, "type_not_allowed"],
    ["a picture bomb inside", zip([{ name: "a.png", content: picture }]), "limits_exceeded"],
    ["a bzip2", Buffer.from("425a6839314159265359", "hex"), "type_not_allowed"],
    ["too many levels", nestedZip(Buffer.from("a"), 9), "limits_exceeded"]
  ] as const)("leaves %s to the policy", ([, bytes, reason]) =>
    Effect.gen(function* () {
      expect(yield* inspect(bytes)).toMatchObject({ _tag: "Opaque", reason })
    })
  )

  it.live("counts what is bad for more than what it cannot look into", () =>
    Effect.gen(function* () {
      const both = zip([
        { name: "a.zip", content: secret },
        { name: "b.txt", content: eicar }
      ])
      expect(yield* inspect(both)).toMatchObject({
        _tag: "Bad",
        reason: "malware",
        detail: expect.stringContaining("b.txt")
      })
    })
  )

  it.live("does not blame the file for a busy machine, which is what the clock measures", () =>
    Effect.gen(function* () {
      const options = { child: child("Endless"), deadline: Duration.seconds(1) }
      expect(yield* Effect.flip(inspect(secret, options))).toMatchObject({
        _tag: "Unavailable",
        dependency: "converter",
        reason: "timeout"
      })
    })
  )

  it.live("does not blame the file when it cannot look at all", () =>
    Effect.gen(function* () {
      const failed = yield* Effect.flip(inspect(secret, { child: child("Broken") }))
      expect(failed).toMatchObject({ _tag: "Unavailable", dependency: "converter" })
    })
  )
})
