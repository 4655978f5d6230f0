// From a request to a response map. The plan answers when all goes well; the reference executor says what went wrong. One executor serves
// HTTP and, through `GraphqlExecutor`, the sockets of the realtime gateway.
import type { Principal } from "@holdfast/contracts/Principal"
import { isStaff } from "@holdfast/contracts/Principal"
import { GraphqlExecutor, type GraphqlRequest } from "@holdfast/contracts/wire/GraphqlExecutor"
import type { TicketPage } from "@holdfast/database/ReadTables"
import { Queries } from "@holdfast/resilience/Limits"
import { Context, Duration, Effect, Layer, Metric, Option, type Tracer } from "effect"
import { type ExecutionResult, execute, GraphQLError } from "graphql"
import { type Answer, Reads } from "../Reads.ts"
import { SharedReads } from "../SharedReads.ts"
import { Documents, type Prepared, planFor } from "./Documents.ts"
import { forbidden, isInternal, toPublic } from "./Errors.ts"
import { type PlannedSelection, runPlan } from "./Plan.ts"
import { type Downloads, RequestContext } from "./RequestContext.ts"
import { schema } from "./Schema.ts"
import { Waiters } from "./Waiters.ts"

export interface QueryRequest {
  readonly query?: string | undefined
  readonly variables: Readonly<Record<string, unknown>>
  readonly operationName: string | null
  /** SHA-256 of the document, in hexadecimal. */
  readonly persistedHash: string | null
}

export interface Executed {
  /** False: nothing was run, the request itself is wrong. */
  readonly wasRun: boolean
  readonly response: Readonly<Record<string, unknown>>
}

/** Runs requests; the process's one, so that what is parsed and read can be shared. */
export class QueryExecutor extends Context.Service<
  QueryExecutor,
  { readonly execute: (viewer: Principal, request: QueryRequest) => Effect.Effect<Executed> }
>()("@holdfast/queries/QueryExecutor") {}

const duration = Metric.histogram("holdfast_query_duration_ms", {
  description: "Time to answer a GraphQL request, in milliseconds",
  boundaries: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500]
})
const measured = {
  live: withSource("live"),
  cached: withSource("cached"),
  none: withSource("none"),
  error: withSource("error")
}
function withSource(source: string) {
  return Metric.withAttributes(duration, { source })
}

export interface ExecutorOptions {
  /** Null: files have no download links here. */
  readonly downloads: Downloads | null
}

export const layer = (options: ExecutorOptions) =>
  Layer.effect(
    QueryExecutor,
    Effect.gen(function* () {
      const reads = yield* Reads
      const services = yield* Effect.context<never>()
      const documents = new Documents()
      const shared = {
        reads,
        pages: new SharedReads<Answer<TicketPage>>(),
        downloads: options.downloads,
        waiters: new Waiters()
      }
      const contextFor = (viewer: Principal, span: Option.Option<Tracer.AnySpan>) => {
        const runPromise = Effect.runPromiseWith(services)
        const run = Option.match(span, {
          onNone:
            () =>
            <A, E>(effect: Effect.Effect<A, E>) =>
              runPromise(effect),
          onSome:
            (parent) =>
            <A, E>(effect: Effect.Effect<A, E>) =>
              runPromise(Effect.withParentSpan(effect, parent))
        })
        return new RequestContext(viewer, { ...shared, run })
      }
      return QueryExecutor.of({
        execute: Effect.fn("QueryExecutor.execute")(function* (viewer, request) {
          const context = contextFor(viewer, yield* Effect.option(Effect.currentSpan))
          const startedAt = performance.now()
          const { executed, internal } = yield* Effect.promise(() => executeIn(documents, context, request)).pipe(
            Effect.timeoutOrElse({ duration: Queries.requestDeadline, orElse: () => Effect.succeed(tookTooLong) })
          )
          for (const error of internal) yield* Effect.logError("a query failed", error.originalError ?? error)
          const outcome = "errors" in executed.response ? "error" : (context.freshness?.source ?? "none")
          yield* Metric.update(measured[outcome], performance.now() - startedAt)
          return executed
        })
      })
    })
  )

/** What the realtime gateway asks. */
export const graphqlExecutor = Layer.effect(
  GraphqlExecutor,
  Effect.map(QueryExecutor, (executor) =>
    GraphqlExecutor.of({
      execute: (principal, request) =>
        Effect.map(executor.execute(principal, fromSocket(request)), ({ response }) => response)
    })
  )
)

const fromSocket = ({ operationName, query, variables }: GraphqlRequest): QueryRequest => ({
  query,
  variables: variables ?? {},
  operationName: operationName ?? null,
  persistedHash: null
})

interface Outcome {
  readonly executed: Executed
  /** Our own mistakes, to be logged. */
  readonly internal: ReadonlyArray<GraphQLError>
}

const refused = (errors: ReadonlyArray<GraphQLError>): Outcome => ({
  executed: { wasRun: false, response: { errors: errors.map((error) => error.toJSON()) } },
  internal: []
})

const tookTooLong: Outcome = {
  executed: {
    wasRun: true,
    response: {
      errors: [
        new GraphQLError(`This took longer than ${Duration.toMillis(Queries.requestDeadline)} ms.`, {
          extensions: { code: "READ_UNAVAILABLE", retryAfterMs: 1000 }
        }).toJSON()
      ],
      data: null,
      extensions: { freshness: null }
    }
  },
  internal: []
}

const executeIn = async (documents: Documents, context: RequestContext, request: QueryRequest): Promise<Outcome> => {
  const text = documents.textOf(request.query, request.persistedHash)
  if (text instanceof GraphQLError) return refused([text])
  const prepared = documents.prepare(text, request.persistedHash)
  if (!("document" in prepared)) return refused(prepared)
  if (prepared.introspects && !isStaff(context.viewer)) return refused([forbidden("Introspection is for staff.")])
  const planned = planFor(prepared, request.operationName, request.variables)
  if (!("plan" in planned)) return refused(planned)
  const data = await tryPlan(planned.plan, context)
  if (data !== null)
    return {
      executed: { wasRun: true, response: { data, extensions: { freshness: context.freshness } } },
      internal: []
    }
  return byReference(prepared, context, request)
}

const tryPlan = (plan: PlannedSelection, context: RequestContext) =>
  runPlan(plan, context).then(
    (data) => data,
    () => null
  )

const byReference = async (prepared: Prepared, context: RequestContext, request: QueryRequest): Promise<Outcome> => {
  const { document } = prepared
  const { operationName, variables } = request
  const result: ExecutionResult = await execute({
    schema,
    document,
    contextValue: context,
    variableValues: variables,
    operationName,
    hideSuggestions: true
  })
  const { data, errors = [] } = result
  return {
    executed: {
      wasRun: true,
      response: {
        ...(errors.length === 0 ? {} : { errors: errors.map((error) => toPublic(error).toJSON()) }),
        data,
        extensions: { freshness: context.freshness }
      }
    },
    internal: errors.filter(isInternal)
  }
}
