// A refusal as RFC 9457 problem details: a stable `type` per tag, the title and status from its definition, and its own fields.
import { Schema } from "effect"
import { type CommandError, commandErrors } from "../CommandErrors.ts"
import { commands, type DeskCommandDefinition, type DeskRefusal } from "../Commands.ts"

export const problemMediaType = "application/problem+json"

export type RefusalSchema = (typeof commandErrors)[number] | DeskCommandDefinition["refusals"][number]

/** Everything that a command can be refused with. */
export const refusalSchemas: ReadonlyArray<RefusalSchema> = [
  ...new Set<RefusalSchema>([
    ...commandErrors,
    ...commands.flatMap(({ refusals }): ReadonlyArray<RefusalSchema> => refusals)
  ])
]

export type Refused = CommandError | DeskRefusal

export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly [field: string]: unknown
}

export interface ProblemKind {
  readonly tag: string
  readonly type: string
  readonly title: string
  readonly status: number
}

/** What its definition says of a refusal. */
export const kindOf = (schema: RefusalSchema): ProblemKind => {
  const tag = schema.identifier
  const { httpApiStatus: status, title } = Schema.resolveAnnotations(schema) ?? {}
  if (typeof status !== "number" || typeof title !== "string") throw new Error(`${tag} has no status or title`)
  return { tag, type: `urn:holdfast:problem:${tag}`, title, status }
}

const kinds: ReadonlyMap<string, ProblemKind> = new Map(
  refusalSchemas.map((schema) => [schema.identifier, kindOf(schema)])
)

const encode: (error: Refused) => { readonly _tag: string } = Schema.encodeSync(Schema.Union(refusalSchemas))

export const toProblem = (error: Refused): Problem => {
  const kind = kinds.get(error._tag)
  if (kind === undefined) throw new Error(`${error._tag} is not a refusal of any command`)
  const { _tag, ...fields } = encode(error)
  return { type: kind.type, title: kind.title, status: kind.status, ...fields }
}

/** Whole seconds, as the `Retry-After` header wants them; null when repeating does not help. */
export const retryAfterSeconds = (error: Refused): number | null =>
  "retryAfterMs" in error ? Math.max(1, Math.ceil(error.retryAfterMs / 1000)) : null
