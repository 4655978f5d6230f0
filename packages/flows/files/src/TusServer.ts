// The tus 1.0 endpoint: resumable uploads, authorised by the bearer token alone, so bytes are safe while everything but this disk is
// away. What is asked is read first, and refused before anybody is asked who is asking; what is answered is never more than a status, a few
// headers and a sentence. Nothing is ever read back through here.
import { IncomingMessage, ServerResponse } from "node:http"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import { CorrelationId } from "@holdfast/contracts/Ids"
import { Identity } from "@holdfast/identity/Identity"
import { currentTraceparent } from "@holdfast/telemetry/TraceContext"
import { Effect, Redacted, Result, Schema } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { refusalOfDisk } from "./DiskTrouble.ts"
import { type Problem, problemBody, problemHeaders, TusRefusal, tusRefusal } from "./Problem.ts"
import { Transfers } from "./Transfers.ts"
import { answerOf, type TusAnswer } from "./tus/Answer.ts"
import { announcement, readRequest, uploadsPath, version } from "./tus/Protocol.ts"
import * as UploadMetrics from "./UploadMetrics.ts"
import { type Sender, type UploadRequest, Uploads } from "./Uploads.ts"

export { announcement } from "./tus/Protocol.ts"

export const layer = HttpRouter.use(
  Effect.fnUntraced(function* (router) {
    const uploads = yield* Uploads
    yield* router.add("*", `${uploadsPath}/*`, handle(uploads))
  })
)

const handle = (uploads: Uploads["Service"]) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const incoming = NodeHttpServerRequest.toIncomingMessage(request)
    const response = NodeHttpServerRequest.toServerResponse(request)
    if (!(incoming instanceof IncomingMessage && response instanceof ServerResponse)) {
      return yield* Effect.die(new Error("uploads are served over HTTP/1.1 only"))
    }
    const { headers, method = "", url = "" } = incoming
    const read = Result.mapError(readRequest({ method, url, headers }), tusRefusal)
    const wanted = yield* Effect.fromResult(read)
    if (wanted.type === "Announce") return HttpServerResponse.empty({ status: 204, headers: announcement })
    const sender = yield* authenticate(request)
    const transfers = yield* Transfers
    yield* transfers.admit(sender.principal.id)
    if (headers.expect !== undefined) response.writeContinue()
    return answered(yield* serve(uploads, sender, wanted, incoming))
  }).pipe(
    Effect.scoped,
    Effect.catchTags({
      Unauthenticated: ({ detail }) => refused({ status: 401, tag: "Unauthenticated", title: detail }),
      TooManyTransfers: ({ whose }) => refused(whose === "client" ? tooMany : allBusy),
      Unavailable: () => refused(identityAway),
      TusRefusal: ({ announcedBytes, problem }) => refused(problem, announcedBytes)
    })
  )

/** What is no refusal is the disk's, or a fault of ours; either is for the log, too. */
const serve = (uploads: Uploads["Service"], sender: Sender, request: UploadRequest, body: IncomingMessage) =>
  Effect.tryPromise({
    try: (over) => uploads.serve(sender, request, { body, over }),
    catch: (error) => {
      const refusal = refusalOfDisk(error)
      const problem = refusal instanceof TusRefusal ? refusal.problem : ourFault
      return new TusRefusal({ problem, cause: error, announcedBytes: announcedBy(request) })
    }
  }).pipe(
    Effect.tapError(({ cause, problem }) =>
      problem.status < 500 ? Effect.void : Effect.logError("an upload request failed", problem.title, cause)
    )
  )

/** How much the request would have brought, as far as it says. */
const announcedBy = (request: UploadRequest): number => {
  if (request.type === "Create") return request.sizeBytes
  return request.type === "Append" ? (request.content.sizeBytes ?? 0) : 0
}

const answered = (answer: TusAnswer) => {
  const { headers, status } = answerOf(answer)
  return HttpServerResponse.empty({ status, headers: { "tus-resumable": version, ...headers } })
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
const ourFault: Problem = {
  status: 500,
  tag: "UploadFailed",
  title: "The upload could not be kept; resume it."
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

const refused = (problem: Problem, announcedBytes = 0) =>
  Effect.as(
    UploadMetrics.refused(problem.tag, announcedBytes),
    HttpServerResponse.text(problemBody(problem), {
      status: problem.status,
      headers: { ...problemHeaders(problem.status), ...problem.headers, "tus-resumable": version }
    })
  )
