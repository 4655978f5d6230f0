// What ScannerClamAv makes of clamd's answers and silences, on a socket that plays clamd.
import { createServer, type Socket } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import { Health } from "@holdfast/resilience/Health"
import { Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { type ClamAvSettings, deepProbe, encryptedProbe } from "../src/ClamAvSettings.ts"
import { Scanner } from "../src/Scanner.ts"
import * as ScannerClamAv from "../src/ScannerClamAv.ts"
import { scan } from "./ScannerContract.ts"

const all = { alertEncrypted: true, alertExceedsMax: true }

/** Answers VERSION and both probes as it is set, takes a stream until its end mark, then says what it is told. */
const answering =
  (verdict: string, settings: ClamAvSettings = all, isStalled = (_receivedBytes: number) => false) =>
  (socket: Socket) => {
    let received = Buffer.alloc(0)
    const verdictOn = (content: Buffer): string => {
      if (content.includes(encryptedProbe())) return settings.alertEncrypted ? "stream: Probe FOUND" : "stream: OK"
      if (content.includes(deepProbe())) return settings.alertExceedsMax ? "stream: Probe FOUND" : "stream: OK"
      return verdict
    }
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk])
      if (isStalled(received.length)) return socket.pause()
      if (received.toString("latin1").startsWith("zVERSION\0"))
        return socket.end("ClamAV 1.4.6/27500/Mon Jan  5 2026\0")
      if (received.subarray(-4).equals(Buffer.alloc(4))) socket.end(`${verdictOn(received)}\0`)
    })
  }

const listening = (play: (socket: Socket) => void) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
      const sockets = new Set<Socket>()
      const server = createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket))
        play(socket)
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        const close = () => {
          for (const socket of sockets) socket.destroy()
          server.close()
        }
        resume(Effect.succeed({ port, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

const layerOn = (port: number) =>
  ScannerClamAv.layer({ url: `tcp://127.0.0.1:${port}` }).pipe(Layer.provide(Health.layer))

const asked = (play: (socket: Socket) => void) =>
  Effect.flatMap(listening(play), ({ port }) => scan(Buffer.from("content")).pipe(Effect.provide(layerOn(port))))

describe("ScannerClamAv", () => {
  it.effect.each([
    ["stream: Win.Test.EICAR_HDB-1 FOUND", "malware", "Win.Test.EICAR_HDB-1"],
    ["stream: Heuristics.Encrypted.Zip FOUND", "encrypted", "Heuristics.Encrypted.Zip"],
    [
      "stream: Heuristics.Limits.Exceeded.MaxScanSize FOUND",
      "limits_exceeded",
      "Heuristics.Limits.Exceeded.MaxScanSize"
    ],
    ["INSTREAM size limit exceeded. ERROR", "limits_exceeded", "larger than the scanner accepts"]
  ] as const)("reads %s", ([answer, reason, detail]) =>
    Effect.gen(function* () {
      const version = "1.4.6 (AlertEncrypted yes, AlertExceedsMax yes)"
      const tool = { name: "clamd", version, signatureVersion: "27500/Mon Jan  5 2026" }
      expect(yield* asked(answering(answer))).toEqual({ _tag: "Bad", tool, reason, detail })
    })
  )

  it.effect("passes a clean file", () =>
    Effect.gen(function* () {
      expect(yield* asked(answering("stream: OK"))).toMatchObject({ _tag: "Clean" })
    })
  )

  it.effect.each([
    [{ alertEncrypted: false, alertExceedsMax: true }, "1.4.6 (AlertEncrypted no, AlertExceedsMax yes)"],
    [{ alertEncrypted: true, alertExceedsMax: false }, "1.4.6 (AlertEncrypted yes, AlertExceedsMax no)"]
  ] as const)("finds out that clamd is set to %o, and names it", ([settings, version]) =>
    Effect.gen(function* () {
      expect(yield* asked(answering("stream: OK", settings))).toMatchObject({ _tag: "Clean", tool: { version } })
    })
  )

  it.effect("tries the settings once, and again when they may have changed", () =>
    Effect.gen(function* () {
      let probes = 0
      const counting = (socket: Socket) => {
        answering("stream: OK")(socket)
        socket.once("data", (chunk) => {
          if (chunk.toString("latin1").startsWith("zINSTREAM")) probes++
        })
      }
      const { port } = yield* listening(counting)
      yield* Effect.gen(function* () {
        const { tool } = yield* Scanner
        expect(yield* tool).toEqual(yield* tool)
        expect(probes).toBe(2)
        yield* TestClock.adjust("11 minutes")
        yield* tool
        expect(probes).toBe(4)
      }).pipe(Effect.provide(layerOn(port)))
    })
  )

  it.effect("tells an operator which lines a configuration lacks", () =>
    Effect.gen(function* () {
      const lax = { alertEncrypted: false, alertExceedsMax: false }
      const { port } = yield* listening(answering("stream: OK", lax))
      const examined = yield* ScannerClamAv.examine({ url: `tcp://127.0.0.1:${port}` })
      expect(examined.missing).toEqual(["AlertEncrypted yes", "AlertExceedsMax yes"])
    })
  )

  it.effect("is unavailable when clamd reports an error of its own", () =>
    Effect.gen(function* () {
      const refused = { _tag: "Unavailable", dependency: "scanner", reason: "refused" }
      expect(yield* Effect.flip(asked(answering("Can't allocate memory ERROR")))).toMatchObject(refused)
    })
  )

  it.effect("is unavailable when the connection breaks before the verdict", () =>
    Effect.gen(function* () {
      const cut = (socket: Socket) =>
        socket.once("data", (chunk) =>
          chunk.toString("latin1").startsWith("zVERSION") ? socket.end("ClamAV 1.4.6\0") : socket.destroy()
        )
      expect(yield* Effect.flip(asked(cut))).toMatchObject({ _tag: "Unavailable", reason: "connection_lost" })
    })
  )

  it.effect("is unavailable when nobody listens", () =>
    Effect.gen(function* () {
      const { port } = yield* Effect.scoped(listening(() => {}))
      const failed = yield* Effect.flip(scan(Buffer.from("x")).pipe(Effect.provide(layerOn(port))))
      expect(failed).toMatchObject({ _tag: "Unavailable", reason: "unreachable" })
    })
  )

  it.effect("gives up on a clamd that accepts and never answers", () =>
    Effect.gen(function* () {
      const accepted = Promise.withResolvers<void>()
      const { port } = yield* listening(() => accepted.resolve())
      const fiber = yield* Effect.forkChild(Effect.flip(scan(Buffer.from("x")).pipe(Effect.provide(layerOn(port)))))
      yield* Effect.promise(() => accepted.promise)
      yield* TestClock.adjust("1 minute")
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "Unavailable", reason: "timeout" })
    })
  )

  it.effect("refuses an address that is none", () =>
    Effect.gen(function* () {
      const built = Layer.build(ScannerClamAv.layer({ url: "clamd.example:3310" })).pipe(Effect.provide(Health.layer))
      expect(yield* Effect.flip(built)).toMatchObject({ _tag: "ClamAvAddressNotValid" })
    })
  )

  it.effect("reads content no faster than clamd takes it", () =>
    Effect.gen(function* () {
      const chunk = new Uint8Array(1 << 20).fill(1)
      let handedOn = 0
      const content = Stream.fromIterable(Array.from({ length: 200 }, () => chunk)).pipe(
        Stream.rechunk(1),
        Stream.tap(() => Effect.sync(() => handedOn++))
      )
      const streaming = Promise.withResolvers<void>()
      const stalls = answering("stream: OK", all, (receivedBytes) => {
        if (receivedBytes < 100_000) return false
        streaming.resolve()
        return true
      })
      const { port } = yield* listening(stalls)
      const request = { content, sizeBytes: 200 << 20, name: "x", mediaType: "application/octet-stream" }
      const fiber = yield* Effect.forkChild(
        Effect.flip(Scanner.use((scanner) => scanner.scan(request)).pipe(Effect.provide(layerOn(port))))
      )
      yield* Effect.promise(() => streaming.promise)
      yield* TestClock.adjust("5 minutes")
      expect(yield* Fiber.join(fiber)).toMatchObject({ reason: "timeout" })
      expect(handedOn).toBeLessThan(64)
    })
  )
})
