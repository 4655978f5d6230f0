// REST: one route per definition. The typed API of the contracts describes them (OpenAPI, documentation); the routes are ours so that a
// wrong request is told everything that is wrong with it at once, see docs/decisions/0006. A test holds the two together.
import type { CommandAccepted } from "@holdfast/contracts/Command"
import { ValidationFailed } from "@holdfast/contracts/CommandErrors"
import { commands, type DeskCommandDefinition } from "@holdfast/contracts/Commands"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { problemMediaType, type Refused, retryAfterSeconds, toProblem } from "@holdfast/contracts/wire/Problem"
import { Identity } from "@holdfast/identity/Identity"
import { Effect, Option, Result } from "effect"
import { HttpRouter, type HttpServerError, HttpServerRequest, HttpServerResponse } from "effect/http"
import { authenticate } from "../Authenticate.ts"
import { decodeCommand } from "../DecodeCommand.ts"

export const layer = HttpRouter.use(
  Effect.fnUntraced(function* (router) {
    const bus = yield* CommandBus
    const identity = yield* Identity
    for (const definition of commands) {
      yield* router.add("POST", definition.path, handle(definition, bus, identity))
    }
  })
)

const handle = (definition: DeskCommandDefinition, bus: CommandBus["Service"], identity: Identity["Service"]) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const principal = yield* authenticate(identity, request.headers.authorization)
    const body = yield* readJson(request)
    const inPath = yield* HttpRouter.params
    const { command, meta } = yield* Effect.fromResult(
      Result.flatMap(mergeFields(body, inPath), (payload) =>
        decodeCommand(definition.name, payload, metaOf(request.headers), headerNames)
      )
    )
    return accepted(yield* bus.execute({ principal, meta, command, causationId: Option.none() }))
  }).pipe(Effect.catch((error) => Effect.succeed(refused(error))))

const headerNames = { commandId: "Idempotency-Key", expectedVersion: "If-Match", correlationId: "X-Correlation-Id" }

type Headers = Readonly<Record<string, string | undefined>>

/** As sent: what is missing or wrong is told by the decoding, under the header's name. */
const metaOf = (headers: Headers) => {
  const version = headers["if-match"]
  const correlationId = headers["x-correlation-id"]
  return {
    ...(headers["idempotency-key"] === undefined ? {} : { commandId: headers["idempotency-key"] }),
    ...(version === undefined
      ? {}
      : { expectedVersion: /^"\d{1,15}"$/.test(version) ? Number(version.slice(1, -1)) : version }),
    ...(correlationId === undefined ? {} : { correlationId })
  }
}

const readJson = (request: HttpServerRequest.HttpServerRequest) =>
  request.text.pipe(
    Effect.flatMap((text) =>
      Effect.try({
        try: (): unknown => (text === "" ? {} : JSON.parse(text)),
        catch: () => new ValidationFailed({ issues: [{ path: "", message: "The body is not JSON" }] })
      })
    )
  )

/** A field that stands in the path may be repeated in the body, but not contradicted. */
const mergeFields = (
  body: unknown,
  inPath: Readonly<Record<string, string | undefined>>
): Result.Result<unknown, ValidationFailed> => {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return Result.succeed(body)
  const contradicted = Object.entries(body).filter(([name, value]) => name in inPath && inPath[name] !== value)
  if (contradicted.length === 0) return Result.succeed({ ...body, ...inPath })
  return Result.fail(
    new ValidationFailed({
      issues: contradicted.map(([path]) => ({ path, message: "Differs from the one in the path" }))
    })
  )
}

const accepted = (answer: CommandAccepted) =>
  HttpServerResponse.text(JSON.stringify(answer), {
    contentType: "application/json",
    headers: { etag: `"${answer.version}"`, ...(answer.replayed ? { "idempotency-replayed": "true" } : {}) }
  })

const refused = (error: Refused | HttpServerError.HttpServerError) => {
  if (error._tag === "HttpServerError") return unreadable
  const problem = toProblem(error)
  const retryAfter = retryAfterSeconds(error)
  return HttpServerResponse.text(JSON.stringify(problem), {
    status: problem.status,
    contentType: problemMediaType,
    headers: {
      ...(retryAfter === null ? {} : { "retry-after": String(retryAfter) }),
      ...(error._tag === "Unauthenticated" ? { "www-authenticate": "Bearer" } : {})
    }
  })
}

/** The body was longer than allowed, or broke off. */
const unreadable = HttpServerResponse.text(
  JSON.stringify({
    type: "urn:holdfast:problem:BodyUnreadable",
    title: "The body is too large, or did not arrive whole.",
    status: 413
  }),
  { status: 413, contentType: problemMediaType }
)
