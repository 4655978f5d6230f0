// The commands as a REST API: what OpenAPI and the documentation page are made from. Each is a POST to its path, with the commandId in
// `Idempotency-Key` and the expected version in `If-Match`.
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { CommandAccepted } from "../Command.ts"
import { commandErrors } from "../CommandErrors.ts"
import { commands, type DeskCommandDefinition } from "../Commands.ts"
import { CommandId, CorrelationId } from "../Ids.ts"
import { kindOf, problemMediaType, type RefusalSchema } from "./Problem.ts"

const headers = {
  "idempotency-key": CommandId.annotate({
    description: "The commandId: made by the client, the same for every repetition."
  }),
  "if-match": Schema.optionalKey(
    Schema.String.check(Schema.isPattern(/^"\d+"$/)).annotate({ description: 'Refuse unless at this version: `"3"`.' })
  ),
  "x-correlation-id": Schema.optionalKey(CorrelationId)
}

// One schema per refusal, so that the document names each once.
const problems = new Map<RefusalSchema, ReturnType<typeof makeProblem>>()

const problemOf = (refusal: RefusalSchema) => {
  const known = problems.get(refusal) ?? makeProblem(refusal)
  problems.set(refusal, known)
  return known
}

const makeProblem = (refusal: RefusalSchema) => {
  const { status, tag, title, type } = kindOf(refusal)
  const { _tag, ...fields }: Schema.Struct.Fields = refusal.fields
  return Schema.Struct({
    type: Schema.Literal(type),
    title: Schema.String,
    status: Schema.Literal(status),
    ...fields
  })
    .annotate({ identifier: `${tag}Problem`, description: title })
    .pipe(HttpApiSchema.asJson({ contentType: problemMediaType }), HttpApiSchema.status(status))
}

/** The fields that stand in the path, and those that are sent in the body. */
export const splitFields = ({ path, payload }: Pick<DeskCommandDefinition, "path" | "payload">) => {
  const inPath = new Set([...path.matchAll(/:(\w+)/g)].map(([, name]) => name))
  const fields: ReadonlyArray<readonly [string, Schema.Top]> = Object.entries(payload.fields)
  return {
    path: Object.fromEntries(fields.filter(([name]) => inPath.has(name))),
    body: Object.fromEntries(fields.filter(([name]) => !inPath.has(name)))
  }
}

const endpointOf = (definition: DeskCommandDefinition) => {
  const { body, path } = splitFields(definition)
  const refusals: ReadonlyArray<RefusalSchema> = definition.refusals
  return HttpApiEndpoint.post(definition.name, definition.path, {
    params: path,
    headers,
    payload: Schema.Struct(body).annotate({ identifier: `${definition.name}Body` }),
    success: CommandAccepted,
    error: [...commandErrors, ...refusals].map(problemOf)
  }).annotateMerge(
    OpenApi.annotations({ summary: definition.summary, description: `For the roles ${definition.roles.join(", ")}.` })
  )
}

const [first, ...rest] = commands

export const CommandHttpApi = HttpApi.make("holdfast")
  .add(HttpApiGroup.make("commands").add(endpointOf(first), ...rest.map(endpointOf)))
  .annotateMerge(
    OpenApi.annotations({
      title: "Holdfast commands",
      version: "1.0.0",
      description:
        "Everything that changes the desk. Repeating a request with the same Idempotency-Key changes nothing more."
    })
  )

const bearer = { type: "http", scheme: "bearer", bearerFormat: "JWT" } as const
const security = [{ bearer: [] }]

/** OpenAPI 3.1. */
export const commandOpenApi = () => {
  const { components, paths, ...spec } = OpenApi.fromApi(CommandHttpApi)
  return {
    ...spec,
    security,
    paths: Object.fromEntries(
      Object.entries(paths).map(([path, { post, ...others }]) => [path, { ...others, post: { ...post, security } }])
    ),
    components: { ...components, securitySchemes: { bearer } }
  }
}
