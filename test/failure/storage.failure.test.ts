// The file gateway on a disk that is full, read-only, failing, late, or gone in the middle of a write, and killed in the middle of an upload.
// What it told a client is on the disk, what it cannot keep it says in a plain sentence, and it goes on by itself.
import { createHash, randomBytes } from "node:crypto"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { createConnection } from "node:net"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { signLink } from "@holdfast/domain/attachment/DownloadLink"
import { failCalls } from "@holdfast/testkit/FailingCalls"
import { eventually } from "@holdfast/testkit/Signals"
import { makeSmallDisk } from "@holdfast/testkit/SmallDisk"
import { Duration, Effect, Exit, Fiber, Redacted, Scope } from "effect"
import { downloadKey, FileGateway } from "./FileGateway.ts"

const mebibyte = 1024 * 1024
const done = { status: 204 }
const full = {
  status: 507,
  tag: "StorageFull",
  title: "The disk is full or takes nothing more just now; what was acknowledged is kept. Resume the upload later."
}
const failing = {
  status: 503,
  tag: "StorageUnavailable",
  title: "The disk does not answer as it should; what was acknowledged is kept. Resume the upload."
}

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-files-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

const ask = <A>(run: () => Promise<A>) => Effect.promise(run)

const sha256Of = (bytes: Buffer) => Sha256.make(createHash("sha256").update(bytes).digest("hex"))

/** What was kept of an upload, as somebody with access to the disk sees it. */
const kept = (gateway: FileGateway, path: string) => readFile(join(gateway.uploadsFolder, basename(path)))

const journalOf = (gateway: FileGateway) =>
  readdir(join(gateway.dataDir, "files", "journal")).then((names) => names.filter((name) => name.endsWith(".json")))

const quarantined = (gateway: FileGateway, sha256: string) =>
  readFile(join(gateway.dataDir, "files", "quarantine", sha256.slice(0, 2), sha256))

/** `toEqual` would compare megabytes number by number. */
const expectSame = (found: Buffer, expected: Buffer): void => {
  expect({ bytes: found.length, same: found.equals(expected) }).toEqual({ bytes: expected.length, same: true })
}

/** Something released, and a link to it. */
const release = async (gateway: FileGateway, text: string): Promise<string> => {
  const sha256 = sha256Of(Buffer.from(text))
  const place = join(gateway.dataDir, "files", "released", sha256.slice(0, 2))
  await mkdir(place, { recursive: true })
  await writeFile(join(place, sha256), text)
  const fileId = FileId.make("01890000-0000-7000-8000-000000000000")
  const link = signLink(Redacted.make(downloadKey), {
    fileId,
    sha256,
    name: "released.txt",
    mediaType: "text/plain",
    principalId: PrincipalId.make("ada"),
    expiresAtSeconds: Math.floor(Date.now() / 1000) + 600
  })
  return `/download/${fileId}?${link}`
}

const world = Scope.makeUnsafe()
/** One for all who need no disk of their own. */
let shared: FileGateway
beforeAll(async () => {
  shared = await Effect.runPromise(Scope.provide(Effect.flatMap(folder, FileGateway.make), world))
}, 120_000)
afterAll(() => Effect.runPromise(Scope.close(world, Exit.void)))

describe("a full disk", () => {
  it.live(
    "answers 507 in the middle of an upload, keeps what it told, gives what it has, and takes the rest later",
    () =>
      Effect.gen(function* () {
        const disk = yield* makeSmallDisk(24 * mebibyte)
        const gateway = yield* FileGateway.make(disk.path)
        const link = yield* ask(() => release(gateway, "kept before"))
        const bytes = randomBytes(6 * mebibyte)
        const { path } = yield* ask(() => gateway.create(bytes.length))
        expect(yield* ask(() => gateway.patch(path, bytes.subarray(0, mebibyte), 0))).toMatchObject(done)
        yield* disk.fill(2 * mebibyte)
        expect(yield* ask(() => gateway.patch(path, bytes, mebibyte))).toMatchObject(full)
        const { offset } = yield* ask(() => gateway.head(path))
        expect(offset).toBeGreaterThanOrEqual(mebibyte)
        expectSame(yield* ask(() => kept(gateway, path)), bytes.subarray(0, offset ?? 0))
        for (let again = 0; again < 3; again++) {
          expect(yield* ask(() => gateway.resume(path, bytes))).toMatchObject(full)
          expect(yield* ask(() => gateway.get(link).then((response) => response.text()))).toBe("kept before")
        }
        expect((yield* ask(() => gateway.create(1))).answer).toMatchObject({ status: 507, tag: "StorageFull" })
        yield* disk.free
        expect(yield* ask(() => gateway.resume(path, bytes))).toMatchObject({ ...done, offset: bytes.length })
        expectSame(yield* ask(() => quarantined(gateway, sha256Of(bytes))), bytes)
      })
  )

  it.live("at the journal leaves the upload to be finished, not half told", () =>
    Effect.gen(function* () {
      const gateway = shared
      const bytes = randomBytes(64 * 1024)
      const { path } = yield* ask(() => gateway.create(bytes.length))
      const refused = yield* Effect.scoped(
        Effect.gen(function* () {
          // The upload's bytes are in; it is the journal's entry that does not get its name.
          yield* failCalls({ pids: [gateway.pid], calls: ["rename"], fault: { _tag: "Fails", errno: "ENOSPC" } })
          return yield* ask(() => gateway.patch(path, bytes, 0))
        })
      )
      expect(refused).toMatchObject(full)
      const journal = yield* ask(() => readdir(join(gateway.dataDir, "files", "journal")))
      expect(journal.filter((name) => name.endsWith(".partial") || name.startsWith(basename(path)))).toEqual([])
      expect(yield* ask(() => gateway.head(path))).toMatchObject({ status: 200, offset: bytes.length })
      expect(yield* ask(() => journalOf(gateway))).toContain(`${basename(path)}.json`)
    })
  )

  it.live("that is mounted read-only answers the same, and goes on when it may be written again", () =>
    Effect.gen(function* () {
      const disk = yield* makeSmallDisk(16 * mebibyte)
      const gateway = yield* FileGateway.make(disk.path)
      const link = yield* ask(() => release(gateway, "kept before"))
      const bytes = randomBytes(64 * 1024)
      const { path } = yield* ask(() => gateway.create(bytes.length))
      expect(yield* ask(() => gateway.patch(path, bytes.subarray(0, 1000), 0))).toMatchObject(done)
      yield* disk.setReadOnly(true)
      expect(yield* ask(() => gateway.head(path))).toMatchObject({ status: 200, offset: 1000 })
      expect(yield* ask(() => gateway.patch(path, bytes, 1000))).toMatchObject(full)
      expect((yield* ask(() => gateway.create(1))).answer).toMatchObject(full)
      expect(yield* ask(() => gateway.get(link).then((response) => response.text()))).toBe("kept before")
      yield* disk.setReadOnly(false)
      expect(yield* ask(() => gateway.resume(path, bytes))).toMatchObject({ ...done, offset: bytes.length })
    })
  )
}, 120_000)

describe("a disk that fails to flush", () => {
  it.live("is believed: no byte counts whose flush failed, and they are sent again once it works", () =>
    Effect.gen(function* () {
      const gateway = shared
      const bytes = randomBytes(mebibyte)
      const { path } = yield* ask(() => gateway.create(bytes.length))
      expect(yield* ask(() => gateway.patch(path, bytes.subarray(0, 1000), 0))).toMatchObject(done)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* failCalls({ pids: [gateway.pid], fault: { _tag: "Fails", errno: "EIO" } })
          expect(yield* ask(() => gateway.patch(path, bytes.subarray(0, 500_000), 1000))).toMatchObject(failing)
          // That a later flush might succeed proves nothing; until one does, no offset is told at all.
          expect(yield* ask(() => gateway.head(path))).toMatchObject({ status: 503, offset: null })
          expect(yield* ask(() => gateway.patch(path, bytes, 500_000))).toMatchObject(failing)
        })
      )
      expect(yield* ask(() => gateway.head(path))).toMatchObject({ status: 200, offset: 1000 })
      expectSame(yield* ask(() => kept(gateway, path)), bytes.subarray(0, 1000))
      expect(yield* ask(() => gateway.resume(path, bytes))).toMatchObject({ ...done, offset: bytes.length })
      expectSame(yield* ask(() => quarantined(gateway, sha256Of(bytes))), bytes)
    })
  )

  it.live("at the last byte is not acknowledged, nor told to the core", () =>
    Effect.gen(function* () {
      const gateway = shared
      const bytes = randomBytes(64 * 1024)
      const { path } = yield* ask(() => gateway.create(bytes.length))
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* failCalls({ pids: [gateway.pid], fault: { _tag: "Fails", errno: "EIO" } })
          expect(yield* ask(() => gateway.patch(path, bytes, 0))).toMatchObject(failing)
          expect(yield* ask(() => journalOf(gateway))).not.toContain(`${basename(path)}.json`)
        })
      )
      expect(yield* ask(() => gateway.head(path))).toMatchObject({ status: 200, offset: 0 })
      expect(yield* ask(() => gateway.resume(path, bytes))).toMatchObject(done)
      expect(yield* ask(() => journalOf(gateway))).toContain(`${basename(path)}.json`)
    })
  )

  it.live("only late is waited for, and nobody else waits with it", () =>
    Effect.gen(function* () {
      const gateway = shared
      const link = yield* ask(() => release(gateway, "kept before"))
      const bytes = randomBytes(1000)
      const { path } = yield* ask(() => gateway.create(bytes.length))
      // The journal flushes twice within `Storage.operationDeadline`.
      const { hits } = yield* failCalls({ pids: [gateway.pid], fault: { _tag: "Late", by: Duration.seconds(3) } })
      let isAnswered = false
      const patching = ask(() => gateway.patch(path, bytes, 0)).pipe(
        Effect.tap(() =>
          Effect.sync(() => {
            isAnswered = true
          })
        )
      )
      const patched = yield* Effect.forkChild(patching)
      const written = () => kept(gateway, path).then((held) => held.length)
      yield* eventually("the bytes are written", ask(written), (length) => length === bytes.length)
      expect(yield* ask(() => gateway.get(link).then((response) => response.text()))).toBe("kept before")
      expect(isAnswered).toBe(false)
      expect(yield* Fiber.join(patched)).toMatchObject(done)
      expect(yield* hits).toBeGreaterThan(0)
    })
  )
}, 120_000)

describe("a gateway that is killed with -9", () => {
  it.live("at any byte of an upload has what it acknowledged, and takes the rest", () =>
    Effect.gen(function* () {
      const gateway = shared
      const bytes = randomBytes(6 * mebibyte)
      const { path } = yield* ask(() => gateway.create(bytes.length))
      let acknowledged = 0
      for (const part of [0.13, 0.57]) {
        const until = Math.floor(bytes.length * part)
        expect(yield* ask(() => gateway.patch(path, bytes.subarray(0, until), acknowledged))).toMatchObject(done)
        acknowledged = until
        const torn = sendTorn(gateway, path, bytes, acknowledged)
        const held = () => kept(gateway, path).then((found) => found.length)
        yield* eventually("more than was acknowledged has come", ask(held), (length) => length > acknowledged)
        yield* ask(() => gateway.kill())
        torn.destroy()
        yield* ask(() => gateway.start())
        const { offset } = yield* ask(() => gateway.head(path))
        expect(offset).toBeGreaterThanOrEqual(acknowledged)
        expectSame(yield* ask(() => kept(gateway, path)), bytes.subarray(0, offset ?? 0))
        acknowledged = offset ?? 0
      }
      expect(yield* ask(() => gateway.resume(path, bytes))).toMatchObject({ ...done, offset: bytes.length })
      expectSame(yield* ask(() => quarantined(gateway, sha256Of(bytes))), bytes)
    })
  )
}, 120_000)

/** Begins a PATCH of everything that is left, and never ends it. */
const sendTorn = (gateway: FileGateway, path: string, bytes: Buffer, offset: number) => {
  const socket = createConnection(gateway.port, "127.0.0.1")
  socket.on("error", () => {})
  const rest = bytes.subarray(offset)
  socket.write(
    [
      `PATCH ${path} HTTP/1.1`,
      "host: desk",
      `authorization: Bearer ${gateway.token}`,
      "tus-resumable: 1.0.0",
      `upload-offset: ${offset}`,
      "content-type: application/offset+octet-stream",
      `content-length: ${rest.length}`,
      "",
      ""
    ].join("\r\n")
  )
  socket.write(rest.subarray(0, rest.length - 1))
  return socket
}
