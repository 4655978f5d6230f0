// Released files that are looked at again: what stays, what is withdrawn and what follows from that, who asks for it and how much at a time;
// and that a crash at any step ends the same.
import { createHash } from "node:crypto"
import { describe, expect, it } from "@effect/vitest"
import { RescanFile, RetryFile } from "@holdfast/contracts/attachment/Commands"
import type { RejectionReason } from "@holdfast/contracts/attachment/Stages"
import type { FileId, Sha256 } from "@holdfast/contracts/Ids"
import { Converter } from "@holdfast/converter/Converter"
import { applyFile } from "@holdfast/domain/attachment/FileView"
import { Rescans as Limits, Pipeline } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Scanner, type Verdict } from "@holdfast/scanner/Scanner"
import { Released, Withdrawn } from "@holdfast/storage/BlobStore"
import { principal } from "@holdfast/testkit/History"
import { zip } from "@holdfast/testkit/hostile/Archives"
import { filesOf } from "@holdfast/testkit/ReleasedFilesModel"
import { Deferred, Effect, Fiber, Layer, Stream } from "effect"
import { fileWorker } from "../src/Registrar.ts"
import { watchOnce } from "../src/Signatures.ts"
import { png, receive, servicesOf, tools, World } from "./PipelineWorld.ts"

/** A scanner that can change its mind. */
class Mind {
  signatures = "1"
  readonly bad = new Set<string>()
  /** What it was given, by hash. */
  readonly seen: Array<string> = []
  /** In the middle of a scan. */
  trouble: Effect.Effect<void, Unavailable> = Effect.void
  found: { readonly reason: RejectionReason; readonly detail: string } = { reason: "malware", detail: "Late.Finding" }

  learn(signatures: string, ...bad: ReadonlyArray<string>): void {
    this.signatures = signatures
    this.bad.clear()
    for (const one of bad) this.bad.add(one)
  }

  get tool() {
    return { name: "test", version: "1", signatureVersion: this.signatures }
  }

  readonly scanner = Layer.succeed(Scanner, {
    scan: ({ content }) =>
      Effect.gen({ self: this }, function* () {
        const { tool } = this
        const sha256 = hashOf(Buffer.concat(yield* Stream.runCollect(content)))
        this.seen.push(sha256)
        yield* Effect.suspend(() => this.trouble)
        const verdict: Verdict = this.bad.has(sha256) ? { _tag: "Bad", tool, ...this.found } : { _tag: "Clean", tool }
        return verdict
      }),
    tool: Effect.sync(() => this.tool)
  })
  readonly layer = Layer.merge(Layer.mock(Converter)({}), this.scanner)
}

const carol = principal("customer", "carol")
const ada = principal("agent", "ada")
const scannerAway = new Unavailable({ dependency: "scanner", reason: "unreachable", retryAfterMs: 1, detail: "away" })

const hashOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

const ask = (world: World, fileId: FileId) => world.history.issue(fileWorker, RescanFile.command.make({ fileId }))
const eventsOf = (world: World, fileId: FileId) =>
  world.history.envelopes.flatMap(({ event, streamId }) => (String(streamId) === fileId ? [event] : []))
const stateOf = (world: World, fileId: FileId) => filesOf(world.history.envelopes).get(fileId)?.state
const viewOf = (world: World, fileId: FileId) =>
  world.history.envelopes.filter(({ streamId }) => String(streamId) === fileId).reduce(applyFile, null)
const isThere = (sha256: Sha256) =>
  Released.use((store) => Effect.map(Effect.option(store.sizeBytes(sha256)), ({ _tag }) => _tag === "Some"))
const isDead = (fileId: FileId) => Withdrawn.use((withdrawn) => withdrawn.has(fileId))

/** It has come through every stage but the last, which keeps failing. */
const parkBeforeRelease = (world: World, fileId: FileId) => {
  const tool = { name: "test", version: "1" }
  const outcomes = [
    { stage: "identify", outcome: { _tag: "Identified", mediaType: "text/plain" } },
    { stage: "scan", outcome: { _tag: "Clean" } },
    { stage: "convert", outcome: { _tag: "Converted", derivatives: [] } },
    { stage: "release", outcome: { _tag: "Failed", detail: "no" } }
  ] as const
  for (const outcome of outcomes) {
    world.history.issue(fileWorker, { _tag: "RecordFileStages", fileId, stages: [{ tool, durationMs: 1, ...outcome }] })
  }
}

/** What is found now is seen to, and what follows from it. */
const lookAgain = (world: World) => Effect.andThen(world.rescan, world.run)

describe("a released file that is looked at again", () => {
  it.live("stays released when it is clean, and its timeline names who looked and for how long", () => {
    const [world, mind] = [new World(), new Mind()]
    return Effect.gen(function* () {
      const { fileId } = yield* receive(world, zip([{ name: "a.txt", content: Buffer.from("harmless") }]))
      yield* world.run
      mind.learn("2")
      ask(world, fileId)
      yield* lookAgain(world)
      expect(eventsOf(world, fileId).slice(5)).toMatchObject([
        { _tag: "FileRescanRequested" },
        { _tag: "FileRescanned", tool: mind.tool, inspector: { name: expect.stringContaining("inspect") } }
      ])
      const view = viewOf(world, fileId)
      expect([view?.state, view?.rejection]).toEqual(["released", null])
      expect(view?.timeline.slice(4)).toMatchObject([
        { stage: "rescan", outcome: "requested" },
        { stage: "rescan", outcome: "passed", tool: { signatureVersion: "2" }, durationMs: expect.any(Number) }
      ])
      expect(yield* isDead(fileId)).toBe(false)
    }).pipe(Effect.provide(servicesOf(world, mind.layer)))
  })

  it.live("is withdrawn when it is bad: its links die, and what it gave is gone", () => {
    const [world, mind] = [new World(), new Mind()]
    return Effect.gen(function* () {
      const { fileId, sha256 } = yield* receive(world, Buffer.from("late finding"))
      yield* world.run
      expect([yield* isThere(sha256), yield* isDead(fileId)]).toEqual([true, false])
      mind.learn("2", sha256)
      ask(world, fileId)
      yield* lookAgain(world)
      const { tool } = mind
      expect(eventsOf(world, fileId).slice(6)).toMatchObject([
        { _tag: "FileWithdrawn", reason: "malware", detail: "Late.Finding", tool, durationMs: expect.any(Number) }
      ])
      expect([yield* isThere(sha256), yield* isDead(fileId)]).toEqual([false, true])
      expect(viewOf(world, fileId)).toMatchObject({
        ...{ state: "withdrawn", content: null, rejection: { reason: "malware", detail: "Late.Finding" } }
      })
    }).pipe(Effect.provide(servicesOf(world, mind.layer)))
  })

  it.live("is read as downloads give it: an image's clean copy; and all that was made of it goes with it", () => {
    const [world, mind] = [new World(), new Mind()]
    return Effect.gen(function* () {
      const { fileId, sha256 } = yield* receive(world, png, { name: "dot.png", type: "image/png" })
      yield* world.run
      const made = filesOf(world.history.envelopes).get(fileId)?.derivatives ?? []
      const [clean] = made.map((one) => one.sha256)
      expect(made.map(({ kind }) => kind)).toEqual(["original", "thumbnail"])
      mind.learn("2", clean ?? "")
      ask(world, fileId)
      yield* lookAgain(world)
      expect(mind.seen).toEqual([sha256, clean])
      expect(stateOf(world, fileId)).toBe("withdrawn")
      for (const one of made) expect(yield* isThere(one.sha256)).toBe(false)
    }).pipe(Effect.provide(servicesOf(world, Layer.merge(tools, mind.scanner))))
  })

  it.live(
    "stays released when it cannot be looked at, and says so; it is asked for again with other signatures only",
    () => {
      const [world, mind] = [new World(0, "reject", Date.now()), new Mind()]
      return Effect.gen(function* () {
        const { fileId } = yield* receive(world, Buffer.from("unlucky"))
        yield* world.run
        mind.learn("2")
        mind.trouble = Effect.die(new Error("a bug"))
        ask(world, fileId)
        yield* lookAgain(world)
        expect(eventsOf(world, fileId).at(-1)).toMatchObject({ _tag: "FileRescanFailed", tool: mind.tool })
        expect(mind.seen.length).toBe(1 + Pipeline.stageAttemptsMax)
        expect(viewOf(world, fileId)).toMatchObject({ state: "released", rejection: null })
        mind.trouble = Effect.void
        yield* world.watch(1)
        expect(eventsOf(world, fileId).at(-1)).toMatchObject({ _tag: "FileRescanFailed" })
        mind.learn("3")
        yield* world.watch(1)
        expect(eventsOf(world, fileId).at(-1)).toMatchObject({ _tag: "FileRescanned" })
      }).pipe(Effect.provide(servicesOf(world, mind.layer)))
    }
  )

  it.live("stays released when its content is gone, and when a person would have to judge it", () => {
    const [world, mind] = [new World(0, "hold"), new Mind()]
    return Effect.gen(function* () {
      const gone = yield* receive(world, Buffer.from("gone"))
      const opaque = yield* receive(world, Buffer.from("opaque by now"))
      yield* world.run
      yield* Released.use((store) => store.remove(gone.sha256))
      mind.bad.add(opaque.sha256)
      mind.found = { reason: "encrypted", detail: "Heuristics.Encrypted" }
      for (const { fileId } of [gone, opaque]) ask(world, fileId)
      yield* lookAgain(world)
      const detail = expect.stringContaining("held for a person to judge")
      expect(eventsOf(world, gone.fileId).at(-1)).toMatchObject({
        ...{ _tag: "FileRescanFailed", detail: "the content is gone" }
      })
      expect(eventsOf(world, opaque.fileId).at(-1)).toMatchObject({ _tag: "FileRescanFailed", detail })
    }).pipe(Effect.provide(servicesOf(world, mind.layer)))
  })

  it.live("waits while the scanner is away", () => {
    const [world, mind] = [new World(), new Mind()]
    return Effect.gen(function* () {
      const { fileId } = yield* receive(world, Buffer.from("patience"))
      yield* world.run
      ask(world, fileId)
      mind.trouble = Effect.fail(scannerAway)
      expect(yield* Effect.flip(world.rescan)).toEqual(scannerAway)
      expect(eventsOf(world, fileId).at(-1)).toMatchObject({ _tag: "FileRescanRequested" })
      mind.trouble = Effect.void
      yield* world.rescan
      expect(eventsOf(world, fileId).at(-1)).toMatchObject({ _tag: "FileRescanned" })
    }).pipe(Effect.provide(servicesOf(world, mind.layer)))
  })

  it.live("keeps no new file waiting, however long it takes", () => {
    const [world, mind] = [new World(), new Mind()]
    const started = Deferred.makeUnsafe<void>()
    const isOver = Deferred.makeUnsafe<void>()
    return Effect.gen(function* () {
      const old = yield* receive(world, Buffer.from("old"))
      yield* world.run
      ask(world, old.fileId)
      mind.trouble = Effect.suspend(() =>
        mind.seen.length === 2
          ? Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(isOver))
          : Effect.void
      )
      const looking = yield* Effect.forkChild(world.rescan)
      yield* Deferred.await(started)
      const fresh = yield* receive(world, Buffer.from("new"))
      yield* world.run
      expect([stateOf(world, fresh.fileId), viewOf(world, old.fileId)?.timeline.at(-1)?.outcome]).toEqual([
        ...["released", "requested"]
      ])
      yield* Deferred.succeed(isOver, undefined)
      yield* Fiber.join(looking)
      expect(eventsOf(world, old.fileId).at(-1)).toMatchObject({ _tag: "FileRescanned" })
    }).pipe(Effect.provide(servicesOf(world, mind.layer)))
  })
})

describe("content that was found bad", () => {
  it.live("is given by no other file either, wherever it stands", () => {
    const [world, mind] = [new World(), new Mind()]
    return Effect.gen(function* () {
      const bytes = Buffer.from("shared by many")
      const [first, second] = [yield* receive(world, bytes), yield* receive(world, bytes)]
      const [stuck, other] = [yield* receive(world, bytes), yield* receive(world, Buffer.from("of its own"))]
      parkBeforeRelease(world, stuck.fileId)
      yield* world.run
      const waits = yield* receive(world, bytes)
      mind.learn("2", first.sha256)
      ask(world, first.fileId)
      yield* lookAgain(world)
      const states = [first, second, stuck, waits, other].map(({ fileId }) => stateOf(world, fileId))
      expect(states).toEqual(["withdrawn", "withdrawn", "rejected", "rejected", "released"])
      expect(eventsOf(world, second.fileId).at(-1)).toMatchObject({
        ...{ _tag: "FileWithdrawn", detail: "the same content as another file: Late.Finding" }
      })
      expect([yield* isThere(first.sha256), yield* isDead(second.fileId)]).toEqual([false, true])
      expect([yield* isThere(other.sha256), yield* isDead(other.fileId)]).toEqual([true, false])
      world.history.issue(fileWorker, RetryFile.command.make({ fileId: stuck.fileId }))
      yield* world.run
      expect(stateOf(world, stuck.fileId)).toBe("rejected")
    }).pipe(Effect.provide(servicesOf(world, mind.layer)))
  })

  it.live("goes through the pipeline anew when it comes again; what was withdrawn stays so", () => {
    const [world, mind] = [new World(), new Mind()]
    return Effect.gen(function* () {
      const bytes = Buffer.from("bad, then not")
      const first = yield* receive(world, bytes)
      yield* world.run
      mind.learn("2", first.sha256)
      ask(world, first.fileId)
      yield* lookAgain(world)
      const early = yield* receive(world, bytes)
      yield* world.run
      expect([stateOf(world, early.fileId), yield* isThere(first.sha256)]).toEqual(["rejected", false])
      mind.learn("3")
      const later = yield* receive(world, bytes)
      // Every event comes again, the withdrawal too.
      yield* world.run
      yield* world.run
      const files = [first, early, later].map(({ fileId }) => stateOf(world, fileId))
      expect(files).toEqual(["withdrawn", "rejected", "released"])
      expect([yield* isThere(first.sha256), yield* isDead(first.fileId), yield* isDead(later.fileId)]).toEqual([
        ...[true, true, false]
      ])
    }).pipe(Effect.provide(servicesOf(world, mind.layer)))
  })

  it.live(
    "is told to every ticket on which it hangs, also a closed one: what to those who saw it, why to staff",
    () => {
      const [world, mind] = [new World(), new Mind()]
      return Effect.gen(function* () {
        const { history } = world
        const [open, closed] = [history.open(carol, "Printer"), history.open(carol, "Network")]
        const { fileId, sha256 } = yield* receive(world, Buffer.from("attached"))
        history.issue(carol, { _tag: "AttachFile", ticketId: open, fileId, name: "a.txt" })
        history.issue(ada, { _tag: "AttachFile", ticketId: closed, fileId, name: "b.txt", audience: "internal" })
        history.issue(ada, { _tag: "ChangeTicketStatus", ticketId: closed, status: "closed" })
        yield* world.run
        mind.learn("2", sha256)
        ask(world, fileId)
        yield* lookAgain(world)
        yield* world.run
        const told = history.envelopes.filter(
          ({ principal: { id }, streamType }) => streamType === "ticket" && id === fileWorker.id
        )
        expect(
          told.map(({ event, streamId, visibility }) => [String(streamId), event, visibility.audience])
        ).toMatchObject([
          [open, { _tag: "AttachmentWithdrawn", fileId, name: "a.txt", reason: "malware" }, "public"],
          [open, { _tag: "NoteAdded", body: expect.stringContaining("Late.Finding") }, "internal"],
          [closed, { _tag: "AttachmentWithdrawn", fileId, name: "b.txt", reason: "malware" }, "internal"],
          [closed, { _tag: "NoteAdded" }, "internal"]
        ])
      }).pipe(Effect.provide(servicesOf(world, mind.layer)))
    }
  )

  it.live.each([1, 2, 3])(
    "comes to the same end whatever step a crash happens at, every third from step %i on",
    (from) =>
      Effect.gen(function* () {
        for (let crashAt = from; ; crashAt += 3) {
          const [world, mind] = [new World(0), new Mind()]
          const ended = yield* Effect.gen(function* () {
            const bytes = Buffer.from("found late")
            const [first, second] = [yield* receive(world, bytes), yield* receive(world, bytes)]
            const ticketId = world.history.open(carol, "Printer")
            world.history.issue(carol, { _tag: "AttachFile", ticketId, fileId: first.fileId, name: "a.txt" })
            yield* world.run
            mind.learn("2", first.sha256)
            ask(world, first.fileId)
            world.crashAfter(crashAt)
            const looked = yield* world.rescan
            const followed = looked === "crashed" ? looked : yield* world.run
            yield* world.restart
            yield* lookAgain(world)
            const states = [first, second].map(({ fileId }) => stateOf(world, fileId))
            const links = [yield* isDead(first.fileId), yield* isDead(second.fileId)]
            expect([crashAt, ...states, ...links]).toEqual([crashAt, "withdrawn", "withdrawn", true, true])
            expect([crashAt, yield* isThere(first.sha256)]).toEqual([crashAt, false])
            const told = world.events.filter((tag) => tag === "AttachmentWithdrawn" || tag === "NoteAdded")
            expect([crashAt, ...told]).toEqual([crashAt, "AttachmentWithdrawn", "NoteAdded"])
            expect(world.events.filter((tag) => tag === "FileWithdrawn")).toHaveLength(2)
            return followed
          }).pipe(Effect.provide(servicesOf(world, mind.layer)))
          if (ended === "ended") return expect(crashAt).toBeGreaterThan(20)
        }
      }),
    180_000
  )
})

describe("whoever watches the signatures", () => {
  const dayMs = 86_400_000
  const requests = (world: World) => world.events.filter((tag) => tag === "FileRescanRequested").length

  it.live("asks once for each file that was looked at with others, newest first", () => {
    const [world, mind] = [new World(0, "reject", Date.now()), new Mind()]
    return Effect.gen(function* () {
      const files = [
        yield* receive(world, Buffer.from("1")),
        yield* receive(world, Buffer.from("2")),
        yield* receive(world, Buffer.from("3"))
      ]
      yield* world.run
      yield* world.watch(1)
      expect(requests(world)).toBe(0)
      mind.learn("2")
      yield* world.watch(1)
      const asked = world.history.envelopes.filter(({ event }) => event._tag === "FileRescanRequested")
      expect(asked.map(({ streamId }) => String(streamId))).toEqual(files.map(({ fileId }) => fileId).reverse())
      yield* world.watch(1)
      expect(requests(world)).toBe(3)
    }).pipe(Effect.provide(servicesOf(world, mind.layer)))
  })

  it.live("leaves files alone that were released too long ago", () => {
    const [world, mind] = [new World(0, "reject", Date.now() - 10 * dayMs), new Mind()]
    return Effect.gen(function* () {
      yield* receive(world, Buffer.from("old"))
      yield* world.run
      mind.learn("2")
      yield* world.watch(9)
      expect(requests(world)).toBe(0)
      yield* world.watch(11)
      expect(requests(world)).toBe(1)
    }).pipe(Effect.provide(servicesOf(world, mind.layer)))
  })

  it.live("asks for a few at a time, and goes on where it was after a restart", () => {
    const [world, mind] = [new World(0, "reject", Date.now()), new Mind()]
    return Effect.gen(function* () {
      const count = Limits.underWayMax + 4
      for (let index = 0; index < count; index++) yield* receive(world, Buffer.from(`file ${index}`))
      yield* world.run
      mind.learn("2")
      // While nobody looks at anything it asks for no more; then it is stopped.
      const alone = yield* Effect.forkChild(watchOnce(1, null))
      while (world.pendingAsked < 2) yield* Effect.sleep("50 millis")
      yield* Fiber.interrupt(alone)
      expect(requests(world)).toBe(Limits.underWayMax)
      yield* world.watch(1)
      expect(requests(world)).toBe(count)
      expect(world.events.filter((tag) => tag === "FileRescanned")).toHaveLength(count)
    }).pipe(Effect.provide(servicesOf(world, mind.layer)))
  })

  it.live("asks again when they have changed again", () => {
    const [world, mind] = [new World(0, "reject", Date.now()), new Mind()]
    return Effect.gen(function* () {
      const { fileId } = yield* receive(world, Buffer.from("one"))
      yield* world.run
      for (const signatures of ["2", "3"]) {
        mind.learn(signatures)
        yield* world.watch(1)
        expect(viewOf(world, fileId)?.timeline.at(-1)).toMatchObject({ outcome: "passed", tool: mind.tool })
      }
    }).pipe(Effect.provide(servicesOf(world, mind.layer)))
  })
})
