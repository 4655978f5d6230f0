// The parameters of a GraphQL request as the GraphQL-over-HTTP draft has them: a JSON body, or the query string of a GET.
import type { QueryRequest } from "../graphql/Execute.ts"

/** The request, or what is wrong with it in one sentence. */
export type Parsed = QueryRequest | string

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

export const fromBody = (body: string): Parsed => {
  const parsed = fromJson(body)
  return isMap(parsed) ? fromParameters(parsed) : "The body must be a JSON object."
}

export const fromQueryString = (parameters: URLSearchParams): Parsed => {
  const given = (name: string) => parameters.get(name) ?? undefined
  const map = (name: string) => {
    const text = given(name)
    return text === undefined || text === "" ? undefined : fromJson(text)
  }
  return fromParameters({
    query: given("query"),
    operationName: given("operationName") === "" ? undefined : given("operationName"),
    variables: map("variables"),
    extensions: map("extensions")
  })
}

/** Undefined can be no parameter's value: what is not JSON becomes false, which every check refuses. */
const fromJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return false
  }
}

const fromParameters = ({ extensions, operationName, query, variables }: Readonly<Record<string, unknown>>): Parsed => {
  if (query !== undefined && typeof query !== "string") return "query must be a string."
  if (operationName != null && typeof operationName !== "string") return "operationName must be a string."
  if (variables != null && !isMap(variables)) return "variables must be a map."
  if (extensions != null && !isMap(extensions)) return "extensions must be a map."
  const persistedHash = hashIn(extensions)
  if (query === undefined && persistedHash === null) return "query is missing."
  return { query, persistedHash, variables: variables ?? {}, operationName: operationName ?? null }
}

const hashIn = (extensions: unknown): string | null => {
  const persisted = isMap(extensions) ? extensions.persistedQuery : undefined
  const hash = isMap(persisted) ? persisted.sha256Hash : undefined
  return typeof hash === "string" && /^[0-9a-f]{64}$/.test(hash) ? hash : null
}
