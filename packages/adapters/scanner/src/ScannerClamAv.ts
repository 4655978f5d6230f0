// ClamAV through clamd's INSTREAM. One connection per scan, which this file owns: the `clamscan` package would read a whole file into
// memory while clamd does not take it, and leaves its socket open when a scan is given up. Here the content waits until clamd has
// taken what was sent, and the socket is destroyed whatever happens. A stopped clamd accepts a connection and never answers, so
// every step lies within a deadline that grows with the size. How clamd is set is found out by trying (see ClamAvSettings) and is part of the
// tool's version.
import { connect, type Socket } from "node:net"
import { Readable } from "node:stream"
import type { RejectionReason, Tool } from "@holdfast/contracts/attachment/Stages"
import { makeGuard } from "@holdfast/resilience/Guard"
import { Scanner as Limits } from "@holdfast/resilience/Limits"
import { Unavailable, type UnavailableReason } from "@holdfast/resilience/Unavailable"
import NodeClam from "clamscan"
import { Clock, Duration, Effect, Layer, Schema, Stream } from "effect"
import { type ClamAvSettings, deepProbe, describeSettings, encryptedProbe, missingSettings } from "./ClamAvSettings.ts"
import { Scanner, type ScanRequest, type Verdict } from "./Scanner.ts"

export interface ClamAvOptions {
  /** `tcp://host:port` of clamd. */
  readonly url: string
}

/** The address is not `tcp://host:port`. */
export class ClamAvAddressNotValid extends Schema.TaggedError<ClamAvAddressNotValid>()("ClamAvAddressNotValid", {
  url: Schema.String
}) {}

export const layer = (options: ClamAvOptions) => Layer.effect(Scanner, makeScanner(options))

interface Address {
  readonly host: string
  readonly port: number
}

const makeScanner = Effect.fnUntraced(function* (options: ClamAvOptions) {
  const address = yield* parseAddress(options.url)
  const currentTool = makeCurrentTool(address)
  const guard = yield* makeGuard({
    dependency: "scanner",
    deadline: Limits.toolDeadline,
    concurrencyMax: Limits.scansAtOnceMax,
    acquireDeadline: Limits.acquireDeadline,
    probe: askVersion(address),
    probeDeadline: Limits.toolDeadline,
    watch: { quietMax: Limits.quietMax },
    toFailure: () => null
  })
  return Scanner.of({
    scan: Effect.fn("Scanner.scan")((request) =>
      guard.call(scan(currentTool, address, request), { deadline: deadlineFor(request) })
    ),
    tool: guard.call(currentTool)
  })
})

/** What an operator should know of a clamd: who it is, and which lines its configuration lacks. */
export const examine = Effect.fnUntraced(function* (options: ClamAvOptions) {
  const address = yield* parseAddress(options.url)
  const tool = yield* askVersion(address)
  return { tool, missing: missingSettings(yield* trySettings(address)) }
})

interface Known {
  readonly tool: Tool
  readonly askedAtMs: number
  readonly settings: ClamAvSettings
  readonly triedAtMs: number
}

/**
 * The settings are tried again with every new version of program or signatures, and now and then: a clamd may be started anew with others. A version
 * may be a moment old: what was scanned by newer signatures than it names is looked at again for it.
 */
const makeCurrentTool = (address: Address): Effect.Effect<Tool, Unavailable> => {
  let known: Known | null = null
  return Effect.gen(function* () {
    const nowMs = yield* Clock.currentTimeMillis
    if (known !== null && nowMs - known.askedAtMs < versionLifetimeMs) return named(known.tool, known.settings)
    const tool = yield* askVersion(address)
    if (known !== null && isSame(known.tool, tool) && nowMs - known.triedAtMs < settingsLifetimeMs) {
      known = { ...known, askedAtMs: nowMs }
      return named(tool, known.settings)
    }
    const settings = yield* trySettings(address)
    const missing = missingSettings(settings)
    const isNews = known === null || describeSettings(known.settings) !== describeSettings(settings)
    if (isNews && missing.length > 0) {
      yield* Effect.logWarning(`clamd passes content that it cannot look into; set ${missing.join(" and ")}`)
    }
    known = { tool, askedAtMs: nowMs, settings, triedAtMs: nowMs }
    return named(tool, settings)
  })
}

const versionLifetimeMs = Duration.toMillis(Limits.versionLifetime)
const settingsLifetimeMs = Duration.toMillis(Limits.settingsLifetime)
const isSame = (one: Tool, other: Tool): boolean =>
  one.version === other.version && one.signatureVersion === other.signatureVersion
const named = (tool: Tool, settings: ClamAvSettings): Tool => ({
  ...tool,
  version: `${tool.version} (${describeSettings(settings)})`
})

const trySettings = Effect.fnUntraced(function* (address: Address) {
  const finds = (probe: Buffer) =>
    Effect.flatMap(Effect.scoped(sendContent(address, Stream.make(probe))), (answer) =>
      Effect.map(verdictOf({ name: "clamd", version: "any" }, answer), ({ _tag }) => _tag === "Bad")
    )
  return { alertEncrypted: yield* finds(encryptedProbe()), alertExceedsMax: yield* finds(deepProbe()) }
})

const parseAddress = (url: string): Effect.Effect<Address, ClamAvAddressNotValid> => {
  const parsed = URL.parse(url)
  return parsed?.protocol === "tcp:" && parsed.port !== ""
    ? Effect.succeed({ host: parsed.hostname.replace(/^\[|\]$/g, ""), port: Number(parsed.port) })
    : Effect.fail(new ClamAvAddressNotValid({ url }))
}

const deadlineFor = (request: ScanRequest): Duration.Duration =>
  Duration.sum(Limits.baseDeadline, Duration.times(Limits.perMebibyteDeadline, Math.ceil(request.sizeBytes / 2 ** 20)))

const unavailable = (reason: UnavailableReason, detail: string): Unavailable =>
  new Unavailable({ dependency: "scanner", reason, retryAfterMs: 1_000, detail })

/** The version is known first: it names the signatures in force. */
const scan = Effect.fnUntraced(function* (
  currentTool: Effect.Effect<Tool, Unavailable>,
  address: Address,
  request: ScanRequest
) {
  const tool = yield* currentTool
  const answer = yield* Effect.scoped(sendContent(address, request.content))
  return yield* verdictOf(tool, answer)
})

const connection = (address: Address) =>
  Effect.acquireRelease(
    Effect.callback<Socket, Unavailable>((resume) => {
      const socket = connect({ ...address, noDelay: true })
      socket.once("connect", () => resume(Effect.succeed(socket)))
      socket.once("error", () => resume(Effect.fail(unavailable("unreachable", "clamd does not accept connections"))))
      return Effect.sync(() => socket.destroy())
    }),
    (socket) => Effect.sync(() => socket.destroy()),
    { interruptible: true }
  )

/** `ClamAV 1.4.6/27500/Mon Jan  5 09:00:00 2026`; without signatures of its own, clamd gives the version alone. */
const askVersion = (address: Address): Effect.Effect<Tool, Unavailable> =>
  Effect.scoped(
    Effect.flatMap(connection(address), (socket) =>
      Effect.callback<Tool, Unavailable>((resume) => {
        let answer = ""
        socket.on("error", () => resume(Effect.fail(unavailable("connection_lost", "clamd closed the connection"))))
        socket.on("close", () => resume(Effect.fail(unavailable("connection_lost", "clamd closed the connection"))))
        socket.on("data", (chunk) => {
          answer += chunk.toString("latin1")
          if (answer.length > 500) resume(Effect.fail(unavailable("refused", "clamd's version is not readable")))
          if (answer.endsWith("\0")) resume(Effect.succeed(toolOf(answer.slice(0, -1))))
        })
        socket.write("zVERSION\0")
      })
    )
  )

const toolOf = (answer: string): Tool => {
  const [engine = "", ...signatures] = answer.trim().split("/")
  const version = engine.replace(/^ClamAV\s+/, "").slice(0, 40)
  const signatureVersion = signatures.join("/").slice(0, 100)
  return {
    name: "clamd",
    version: version === "" ? "unknown" : version,
    ...(signatureVersion.trim() === "" ? {} : { signatureVersion })
  }
}

/** The package's client on a connection that we own; it offers no other place to hand one in. */
const clientOn = (socket: Socket): NodeClam => {
  const client = new NodeClam()
  Object.assign(client.settings, { clamdscan: { ...client.settings.clamdscan, host: "owned", port: 1 } })
  Object.defineProperty(client, "_initSocket", { value: () => Promise.resolve(socket) })
  return client
}

const sendContent = Effect.fnUntraced(function* (address: Address, content: ScanRequest["content"]) {
  const socket = yield* connection(address)
  const replies: Array<Buffer> = []
  socket.on("data", (chunk: Buffer) => replies.push(chunk))
  const source = yield* paced(socket, content)
  return yield* Effect.tryPromise({
    try: () => clientOn(socket).scanStream(source.readable),
    catch: () => undefined
  }).pipe(
    Effect.catch(() => Effect.void),
    // The answer itself is judged here: it also comes when clamd stops reading in the middle, which the package reports as an error.
    Effect.andThen(
      Effect.suspend(() => {
        const failed = source.failure()
        if (failed !== null) return Effect.fail(failed)
        // The package sends no command at all before the first byte; there is nothing bad in nothing.
        if (source.sentBytes() === 0) return Effect.succeed("stream: OK")
        const answer = Buffer.concat(replies).toString("utf8").replaceAll("\0", "").trim()
        return answer === ""
          ? Effect.fail(unavailable("connection_lost", "clamd closed the connection before its verdict"))
          : Effect.succeed(answer)
      })
    )
  )
})

/** Hands content on only as fast as clamd takes it, and reads on meanwhile. */
const paced = Effect.fnUntraced(function* (socket: Socket, content: ScanRequest["content"]) {
  let failed: Unavailable | null = null
  let sentBytes = 0
  const watched = Stream.tapError(content, (error) =>
    Effect.sync(() => {
      failed = error
    })
  )
  const chunks = Stream.toAsyncIterable(
    Stream.tap(Stream.buffer(watched, { capacity: Limits.chunksAheadMax }), (chunk) => {
      sentBytes += chunk.length
      return drained(socket)
    })
  )
  const readable = yield* Effect.acquireRelease(
    Effect.sync(() => Readable.from(chunks, { objectMode: false, highWaterMark: 0 })),
    (stream) => Effect.sync(() => stream.destroy())
  )
  return { readable, failure: () => failed, sentBytes: () => sentBytes }
})

const drained = (socket: Socket) =>
  Effect.callback<void>((resume) => {
    if (!socket.writableNeedDrain || socket.destroyed) return resume(Effect.void)
    const settle = () => {
      socket.off("drain", settle).off("close", settle)
      resume(Effect.void)
    }
    socket.once("drain", settle).once("close", settle)
    return Effect.sync(() => socket.off("drain", settle).off("close", settle))
  })

const verdictOf = (tool: Tool, answer: string): Effect.Effect<Verdict, Unavailable> => {
  if (/:\s*OK$/.test(answer)) return Effect.succeed({ _tag: "Clean", tool })
  const found = /:\s*(.+?)\s+FOUND/.exec(answer)?.[1]
  if (found !== undefined) {
    return Effect.succeed({ _tag: "Bad", tool, reason: reasonOf(found), detail: printable(found) })
  }
  if (/size limit exceeded/i.test(answer)) {
    const detail = "larger than the scanner accepts"
    return Effect.succeed({ _tag: "Bad", tool, reason: "limits_exceeded", detail })
  }
  return Effect.fail(unavailable("refused", printable(answer)))
}

const reasonOf = (signature: string): RejectionReason => {
  if (/^Heuristics\.Encrypted\./i.test(signature)) return "encrypted"
  if (/^Heuristics\.Limits\.Exceeded/i.test(signature)) return "limits_exceeded"
  return "malware"
}

/** What a signature is called is somebody else's text. */
const printable = (text: string): string => {
  const line = text
    .replace(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(0, 200)
  return line === "" ? "unnamed" : line
}
