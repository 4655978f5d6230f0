// A page can have the client: bundled for browsers, nothing on its path is Node's, and it stays small enough for a slow line.
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { expect, it } from "@effect/vitest"
import { rolldown } from "rolldown"

/** What a 256 kbit/s line carries in some five seconds. */
const compressedBytesMax = 160 * 1024

const bundled = async (...files: ReadonlyArray<string>) => {
  const input = Object.fromEntries(
    files.map((file) => [file, fileURLToPath(new URL(`../src/${file}.ts`, import.meta.url))])
  )
  const bundle = await rolldown({ input, platform: "browser", logLevel: "silent" })
  const { output } = await bundle.generate({ format: "esm", minify: true })
  await bundle.close()
  return output.filter((file) => file.type === "chunk")
}

const fromNode = (chunks: Awaited<ReturnType<typeof bundled>>) =>
  chunks
    .flatMap(({ imports, dynamicImports }) => [...imports, ...dynamicImports])
    .filter((name) => !name.endsWith(".js"))

it("a bundle of everything that browsers use imports nothing from Node", async () => {
  const chunks = await bundled("Client", "Outbox", "StoreIndexedDb", "StoreMemory")
  expect(chunks.map(({ code }) => code).join("\n")).not.toMatch(
    /["']node:|require\(["'](http|https|fs|stream|url)["']\)/
  )
  expect(fromNode(chunks)).toEqual([])
  const bytes = chunks.reduce((sum, { code }) => sum + gzipSync(code).length, 0)
  expect(bytes).toBeLessThan(compressedBytesMax)
})

it("would be told: the file store is Node's", async () => {
  expect(fromNode(await bundled("StoreFile"))).toContain("node:fs/promises")
})
