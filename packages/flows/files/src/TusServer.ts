// The tus 1.0 endpoint: resumable uploads, authorised by the bearer token alone, so bytes are safe while everything but this disk is
// away. An upload belongs to whoever began it; to anybody else it does not exist. Nothing is ever read back through here.
import { IncomingMessage, ServerResponse } from "node:http"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import { CorrelationId } from "@holdfast/contracts/Ids"
import { Identity } from "@holdfast/identity/Identity"
import { Files } from "@holdfast/resilience/Limits"
import { currentTraceparent } from "@holdfast/telemetry/TraceContext"
import { Server, type ServerOptions } from "@tus/server"
import { ByteSize, Effect, Layer, Redacted, Schema } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { fromTusText, type Problem, problemBody, problemHeaders } from "./Problem.ts"
import { Transfers } from "./Transfers.ts"
import { type Sender, Uploads } from "./Uploads.ts"

export interface TusOptions {
  /** Web pages that may upload from other origins. */
  readonly allowedOrigins: ReadonlyArray<string>
  readonly uploadBytesMax?: number
}

const path = "/files"

export const layer = (options: TusOptions) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const uploads = yield* Uploads
      const senders = new WeakMap<IncomingMessage, Sender>()
      const runFork = Effect.runForkWith(yield* Effect.context<never>())
      const report = (error: unknown) =>
        void runFork(Effect.logError("an upload request failed", error instanceof Error ? error.message : error))
      const tus = makeTus(options, uploads, senders, report)
      return HttpRouter.add("*", `${path}/*`, handle(tus, senders))
    })
  )

type TusRequest = Parameters<NonNullable<ServerOptions["onIncomingRequest"]>>[0]

/** Answers every refusal as a problem. */
class ProblemServer extends Server {
  override async write(...[context, headers, status, body = ""]: Parameters<Server["write"]>) {
    if (status < 400) return super.write(context, headers, status, body)
    for (const [name, value] of Object.entries(problemHeaders(status))) headers.set(name, value)
    return super.write(context, headers, status, fromTusText(status, body))
  }
}

const makeTus = (
  { allowedOrigins, uploadBytesMax = ByteSize.toNumberUnsafe(Files.uploadBytesMax) }: TusOptions,
  uploads: Uploads["Service"],
  senders: WeakMap<IncomingMessage, Sender>,
  report: (error: unknown) => void
): Server => {
  const senderOf = (request: TusRequest): Sender => {
    const incoming = request.runtime?.node?.req
    const sender = incoming instanceof IncomingMessage ? senders.get(incoming) : undefined
    if (sender === undefined) throw new Error("an upload request reached the server without its sender")
    return sender
  }
  return new ProblemServer({
    path,
    datastore: uploads.store,
    locker: uploads.locks,
    maxSize: uploadBytesMax,
    relativeLocation: true,
    allowedOrigins: [...allowedOrigins],
    allowedHeaders: ["traceparent"],
    disableTerminationForFinishedUploads: true,
    namingFunction: () => uploads.newId(),
    onIncomingRequest: async (request, id) => {
      if (request.method !== "POST") await uploads.resume(senderOf(request), id)
    },
    onUploadCreate: async (request, upload) => ({ metadata: await uploads.admit(senderOf(request), upload) }),
    onUploadFinish: async (_, upload) => {
      await uploads.finish(upload.id)
      return {}
    },
    onResponseError: (_, error) => {
      if (!("status_code" in error) || error.status_code >= 500) report(error)
      return undefined
    }
  })
}

const handle = (tus: Server, senders: WeakMap<IncomingMessage, Sender>) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    if (request.method === "GET") return refuse(notReadable)
    const incoming = NodeHttpServerRequest.toIncomingMessage(request)
    const response = NodeHttpServerRequest.toServerResponse(request)
    if (!(incoming instanceof IncomingMessage && response instanceof ServerResponse)) {
      return yield* Effect.die(new Error("uploads are served over HTTP/1.1 only"))
    }
    if (request.method !== "OPTIONS") {
      const sender = yield* authenticate(request)
      const transfers = yield* Transfers
      yield* transfers.admit(sender.principal.id)
      senders.set(incoming, sender)
    }
    yield* Effect.promise(() => tus.handle(incoming, response))
    return HttpServerResponse.empty()
  }).pipe(
    Effect.scoped,
    Effect.catchTags({
      Unauthenticated: ({ detail }) => refused({ status: 401, tag: "Unauthenticated", title: detail }),
      TooManyTransfers: ({ whose }) => refused(whose === "client" ? tooMany : allBusy),
      Unavailable: () => refused(identityAway)
    })
  )

const notReadable: Problem = {
  status: 405,
  tag: "MethodNotAllowed",
  title: "Uploads cannot be read; a released file has a download link."
}
const tooMany: Problem = {
  status: 429,
  tag: "TooManyTransfers",
  title: "Too many transfers of yours are under way; wait for one to end."
}
const allBusy: Problem = {
  status: 503,
  tag: "Overloaded",
  title: "The desk takes no more transfers just now; what was received is kept. Resume the upload."
}
const identityAway: Problem = {
  status: 503,
  tag: "IdentityUnavailable",
  title: "Your token cannot be checked just now; what was received is kept. Resume the upload."
}

const isCorrelationId = Schema.is(CorrelationId)

const authenticate = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
  const identity = yield* Identity
  const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "")?.[1] ?? ""
  const { principal } = yield* identity.verify(Redacted.make(token))
  const sent = request.headers["x-correlation-id"]
  const correlationId = isCorrelationId(sent) ? sent : CorrelationId.make(uuidV7Unsafe())
  const sender: Sender = { principal, correlationId, traceparent: yield* currentTraceparent }
  return sender
})

const refused = (problem: Problem) => Effect.succeed(refuse(problem))

const refuse = (problem: Problem) =>
  HttpServerResponse.text(problemBody(problem), {
    status: problem.status,
    headers: { ...problemHeaders(problem.status), "tus-resumable": "1.0.0" }
  })

/** What `OPTIONS` tells a client that asks what the server can do; it is answered before any route is asked. */
export const announcement = (uploadBytesMax = ByteSize.toNumberUnsafe(Files.uploadBytesMax)) => ({
  "tus-resumable": "1.0.0",
  "tus-version": "1.0.0",
  "tus-extension": "creation,creation-with-upload,termination,expiration",
  "tus-max-size": String(uploadBytesMax)
})
