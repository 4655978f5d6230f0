// What the REST API says of itself: OpenAPI 3.1, and a page made from it that loads nothing from anywhere else.
import { CommandHttpApi, commandOpenApi } from "@holdfast/contracts/wire/CommandHttpApi"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { HttpApiScalar } from "effect/http-api"

// The page is one document with its script inside; it may fetch nothing but the desk.
const pagePolicy =
  "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; connect-src 'self'"

const ownPolicy = HttpRouter.middleware((app) =>
  Effect.map(app, (response) => HttpServerResponse.setHeader(response, "content-security-policy", pagePolicy))
)

export const layer = Layer.mergeAll(
  HttpRouter.add("GET", "/openapi.json", Effect.succeed(HttpServerResponse.jsonUnsafe(commandOpenApi()))),
  HttpApiScalar.layer(CommandHttpApi, { path: "/docs" }).pipe(Layer.provide(ownPolicy.layer))
)
