// How the realtime gateway runs a GraphQL query over a socket without importing the query flow: the process wires it in.
import { Context, type Effect } from "effect"
import type { Principal } from "../Principal.ts"

export interface GraphqlRequest {
  readonly query: string
  readonly variables?: Readonly<Record<string, unknown>> | null
  readonly operationName?: string | null
}

/** The GraphQL response map: `data`, `errors`, `extensions`. */
export type GraphqlResponse = Readonly<Record<string, unknown>>

export class GraphqlExecutor extends Context.Service<
  GraphqlExecutor,
  {
    /** Never fails: errors are in the response, as the GraphQL specification says. */
    execute(principal: Principal, request: GraphqlRequest): Effect.Effect<GraphqlResponse>
  }
>()("@holdfast/contracts/wire/GraphqlExecutor") {}
