// The uploaders that people really have, against the running gateway: tus-js-client in each of its ways of sending, and Uppy with its tus plugin.
import { createHash, randomBytes } from "node:crypto"
import { basename } from "node:path"
import { describe, expect, layer } from "@effect/vitest"
import { faultProxy } from "@holdfast/testkit/Faults"

import { Context, Effect, Layer } from "effect"
import { Upload, type UploadOptions } from "tus-js-client"
import { RunningGateway } from "./RunningGateway.ts"
import { Tus, Uppy } from "./Uppy.mjs"

class Gateway extends Context.Service<Gateway, RunningGateway>()("test/ClientsGateway") {
  static readonly layer = Layer.effect(this, RunningGateway.make)
}

const inGateway = (body: (gateway: RunningGateway) => Promise<void>) =>
  Gateway.use((gateway) => Effect.promise(() => body(gateway)))

const sha256Of = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** What the desk will be told of it. */
const entryOf = (gateway: RunningGateway, url: string) =>
  gateway.journal().filter((entry) => JSON.stringify(entry).includes(basename(url)))

const expectReceived = (gateway: RunningGateway, url: string, bytes: Buffer, name: string) => {
  const file = { name, sizeBytes: bytes.length, sha256: sha256Of(bytes), declaredType: "image/png" }
  expect(entryOf(gateway, url)).toEqual([expect.objectContaining({ file: expect.objectContaining(file) })])
  expect(gateway.files("quarantine")).toContain(sha256Of(bytes))
}

const metadata = { filename: "picture.png", filetype: "image/png" }

/** Until it is done; where it is. */
const upload = async (gateway: RunningGateway, bytes: Buffer, options: Partial<UploadOptions>): Promise<string> => {
  const done = Promise.withResolvers<void>()
  const tus = new Upload(bytes, {
    endpoint: `${gateway.url}/files/`,
    headers: { authorization: `Bearer ${await gateway.token("ada")}` },
    metadata,
    retryDelays: Array.from({ length: 120 }, () => 250),
    onSuccess: () => done.resolve(),
    onError: done.reject,
    ...options
  })
  tus.start()
  await done.promise
  return tus.url ?? ""
}

layer(Gateway.layer, { timeout: 180_000, excludeTestServices: true })("uploaders", (it) => {
  describe("tus-js-client", () => {
    it.effect.each([
      ["at once", {}],
      ["in chunks", { chunkSize: 1 << 20 }],
      ["with its first bytes in the request that creates it", { uploadDataDuringCreation: true, chunkSize: 1 << 20 }],
      ["without PATCH", { overridePatchMethod: true, chunkSize: 2 << 20 }],
      ["in two parts", { parallelUploads: 2 }],
      ["in eight parts of several chunks", { parallelUploads: 8, chunkSize: 256 << 10 }]
    ] satisfies ReadonlyArray<[string, Partial<UploadOptions>]>)("sends a file %s", ([, options]) =>
      inGateway(async (gateway) => {
        const bytes = randomBytes((5 << 20) + 7)
        const url = await upload(gateway, bytes, options)
        expectReceived(gateway, url, bytes, "picture.png")
        const left = gateway.files("uploads").filter((name) => !/\.(done|json)$/.test(name))
        expect(left).toEqual([])
      })
    )

    it.effect("sends an empty file", () =>
      inGateway(async (gateway) => {
        const bytes = Buffer.alloc(0)
        expectReceived(gateway, await upload(gateway, bytes, {}), bytes, "picture.png")
      })
    )

    it.effect("sends parts over a line that is cut, and each part goes on where it was", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const gateway = yield* Gateway
          const proxy = yield* faultProxy({ host: "127.0.0.1", port: gateway.port })
          const runFork = Effect.runForkWith(yield* Effect.context())
          const bytes = randomBytes(16 << 20)
          let cuts = 0
          const onProgress = () => {
            if (cuts++ === 0) runFork(proxy.set({ _tag: "CutAfter", bytes: 3 << 20, direction: "toServer" }))
          }
          const onShouldRetry = () => {
            runFork(proxy.set({ _tag: "Pass" }))
            return true
          }
          const endpoint = `${proxy.through(gateway.url)}files/`
          const url = yield* Effect.promise(() =>
            upload(gateway, bytes, { endpoint, parallelUploads: 4, chunkSize: 1 << 20, onProgress, onShouldRetry })
          )
          expectReceived(gateway, url, bytes, "picture.png")
        })
      )
    )

    it.effect(
      "sends parts to a gateway that is killed while they come, and one file comes of them",
      () =>
        inGateway(async (gateway) => {
          const bytes = randomBytes(24 << 20)
          let restarted: Promise<void> | undefined
          const onProgress = (sent: number) => {
            if (sent > 8 << 20) restarted ??= gateway.end("SIGKILL").then(() => gateway.start())
          }
          const url = await upload(gateway, bytes, { parallelUploads: 4, chunkSize: 1 << 20, onProgress })
          await restarted
          expect(restarted).toBeDefined()
          expectReceived(gateway, url, bytes, "picture.png")
        }),
      180_000
    )

    it.effect("takes an upload back", () =>
      inGateway(async (gateway) => {
        const headers = { authorization: `Bearer ${await gateway.token("ada")}` }
        const begun = await gateway.begin(await gateway.token("ada"))
        const url = `${gateway.url}${begun.headers.get("location")}`
        await Upload.terminate(url, { headers })
        expect((await fetch(url, { method: "HEAD", headers: { ...headers, "tus-resumable": "1.0.0" } })).status).toBe(
          404
        )
      })
    )
  })

  describe("Uppy", () => {
    it.effect.each([
      ["at once", {}],
      ["in chunks", { chunkSize: 1 << 20 }],
      ["in parts", { parallelUploads: 4 }]
    ] as const)("sends files %s", ([, options]) =>
      inGateway(async (gateway) => {
        const contents = [randomBytes(3 << 20), randomBytes(1 << 20), randomBytes(10)]
        const uppy = new Uppy().use(Tus, {
          endpoint: `${gateway.url}/files/`,
          headers: { authorization: `Bearer ${await gateway.token("grace")}` },
          // Its reader of files is the browser's, and there is none of that here.
          fileReader: { openFile: async (input: unknown) => sourceOf(input) },
          ...options
        })
        for (const [index, bytes] of contents.entries()) {
          uppy.addFile({ name: `picture-${index}.png`, type: "image/png", data: new Blob([new Uint8Array(bytes)]) })
        }
        const result = await uppy.upload()
        expect(result?.failed).toEqual([])
        for (const file of result?.successful ?? []) {
          const bytes = contents[Number(/[0-9]/.exec(file.name ?? "")?.[0])] ?? Buffer.alloc(0)
          expectReceived(gateway, file.uploadURL ?? "", bytes, file.name ?? "")
        }
        expect(result?.successful).toHaveLength(contents.length)
        uppy.destroy()
      })
    )
  })
})

/** A file, or a part of one as it was read before. */
const sourceOf = (input: unknown) => {
  if (!(input instanceof Blob || input instanceof Uint8Array)) throw new Error("neither a file nor bytes")
  const blob = input instanceof Blob ? input : new Blob([new Uint8Array(input)])
  return {
    size: blob.size,
    slice: async (start: number, end: number) => {
      const bytes = new Uint8Array(await blob.slice(start, end).arrayBuffer())
      return { value: Object.assign(bytes, { size: bytes.byteLength }), done: end >= blob.size }
    },
    close: () => {}
  }
}
