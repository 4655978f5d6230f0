// Documents as clients send them: bounded, parsed and validated once, then kept by their text. A client may register a document by its
// SHA-256 and afterwards send only the hash (as Apollo's automatic persisted queries do); a process that does not know the hash
// says so, and the client sends the text again.
import { createHash } from "node:crypto"
import { Queries } from "@holdfast/resilience/Limits"
import {
  type DocumentNode,
  type FragmentDefinitionNode,
  GraphQLError,
  getVariableValues,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  parse,
  validate
} from "graphql"
import { Kept } from "../Kept.ts"
import { measure } from "./Bounds.ts"
import { persistedQueryNotFound, tooCostly } from "./Errors.ts"
import { costOf, type PlannedSelection, planOf } from "./Plan.ts"
import { schema } from "./Schema.ts"

export interface Prepared {
  readonly document: DocumentNode
  readonly introspects: boolean
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>
  /** By name and variables, so that what clients ask again and again is planned once. */
  readonly plans: Kept<PlannedSelection>
}

const validationErrorsMax = 20

export class Documents {
  readonly #prepared = new Kept<Prepared>(Queries.documentsKeptMax)
  readonly #byHash = new Kept<string>(Queries.documentsKeptMax)

  /** The text that a request means: its own, or the one registered under its hash. */
  textOf(query: string | undefined, hash: string | null): string | GraphQLError {
    if (hash === null) return query ?? new GraphQLError("query is missing.")
    if (query === undefined) return this.#byHash.get(hash) ?? persistedQueryNotFound()
    if (createHash("sha256").update(query).digest("hex") !== hash)
      return new GraphQLError("sha256Hash is not the hash of query.")
    return query
  }

  /** Or why it cannot be run by anyone. */
  prepare(text: string, hash: string | null): Prepared | ReadonlyArray<GraphQLError> {
    const held = this.#prepared.get(text)
    const prepared = held ?? prepareNew(text)
    if (!("document" in prepared)) return prepared
    if (held === undefined) this.#prepared.set(text, prepared)
    if (hash !== null) this.#byHash.set(hash, text)
    return prepared
  }
}

const prepareNew = (text: string): Prepared | ReadonlyArray<GraphQLError> => {
  if (text.length > Queries.documentLengthMax) return [tooCostly(`A query may be ${Queries.documentLengthMax} long.`)]
  const document = parsed(text)
  if (document instanceof GraphQLError) return [document]
  const measured = measure(document)
  if (measured instanceof GraphQLError) return [measured]
  const errors = validate(schema, document, undefined, { maxErrors: validationErrorsMax, hideSuggestions: true })
  if (errors.length > 0) return errors
  const fragments = document.definitions.filter((definition) => definition.kind === Kind.FRAGMENT_DEFINITION)
  return {
    document,
    introspects: measured.introspects,
    fragments: new Map(fragments.map((fragment) => [fragment.name.value, fragment])),
    plans: new Kept(Queries.plansKeptMax)
  }
}

const parsed = (text: string): DocumentNode | GraphQLError => {
  try {
    return parse(text, { maxTokens: Queries.documentTokensMax })
  } catch (error) {
    if (error instanceof GraphQLError) return error
    throw error
  }
}

export interface Planned {
  readonly plan: PlannedSelection
}

/** The plan of one operation, or why it cannot be run with these variables. */
export const planFor = (
  prepared: Prepared,
  operationName: string | null,
  variables: Readonly<Record<string, unknown>>
): Planned | ReadonlyArray<GraphQLError> => {
  const operation = operationOf(prepared.document, operationName)
  if (operation instanceof GraphQLError) return [operation]
  const key = JSON.stringify([operation.name?.value, operation.variableDefinitions?.length === 0 ? null : variables])
  const held = prepared.plans.get(key)
  if (held !== undefined) return { plan: held }
  const values = getVariableValues(schema, operation.variableDefinitions ?? [], variables, {
    maxErrors: validationErrorsMax,
    hideSuggestions: true
  })
  if (values.errors !== undefined) return values.errors
  const root = schema.getQueryType()
  if (root == null) throw new Error("the schema has no queries")
  const plan = planOrErrors(() => planOf(root, operation, prepared.fragments, values.variableValues))
  if ("fields" in plan === false) return plan
  if (costOf(plan) > Queries.costMax)
    return [tooCostly(`This may answer with more than ${Queries.costMax} objects; ask for smaller pages.`)]
  if (key.length <= Queries.planKeyLengthMax) prepared.plans.set(key, plan)
  return { plan }
}

const planOrErrors = (make: () => PlannedSelection): PlannedSelection | ReadonlyArray<GraphQLError> => {
  try {
    return make()
  } catch (error) {
    if (error instanceof GraphQLError) return [error]
    throw error
  }
}

const operationOf = (document: DocumentNode, name: string | null): OperationDefinitionNode | GraphQLError => {
  const operations = document.definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION)
  const named = name === null ? operations : operations.filter((operation) => operation.name?.value === name)
  const [operation] = named
  if (operation === undefined)
    return new GraphQLError(name === null ? "There is no operation." : `There is no operation ${name}.`)
  if (named.length > 1) return new GraphQLError("There are several operations: say which one in operationName.")
  if (operation.operation !== OperationTypeNode.QUERY) return new GraphQLError("Only queries are answered here.")
  return operation
}
