// What of the hostile set never gets as far as the pipeline: names that deceive, and a file beyond any upload.
import { mkdtemp, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { Files } from "@holdfast/resilience/Limits"
import { hostileNames } from "@holdfast/testkit/hostile/HostileSet"
import { sparseFile } from "@holdfast/testkit/hostile/Sparse"
import { ByteSize, Result } from "effect"
import { readDeclared } from "../src/UploadMetadata.ts"

const harmless = /^[^/\\\p{Cc}\p{Bidi_Control}]+$/u

it.each(hostileNames)("the name %j is refused, or loses what makes it hostile", (filename) => {
  const declared = readDeclared({ filename, filetype: "text/plain" })
  if (Result.isSuccess(declared)) expect(declared.success.filename).toMatch(harmless)
  else expect(declared.failure.issues.map(({ path }) => path)).toEqual(["filename"])
})

it("five gigabytes of nothing take no room to make, and are beyond any upload", async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-sparse-"))
  try {
    await sparseFile(join(folder, "sparse"))
    const { blocks, size } = await stat(join(folder, "sparse"))
    expect(blocks * 512).toBeLessThan(1 << 20)
    expect(size).toBeGreaterThan(ByteSize.toNumberUnsafe(Files.uploadBytesMax))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
