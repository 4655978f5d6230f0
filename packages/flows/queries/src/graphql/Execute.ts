// From a request to a response map. The plan answers when all goes well; the reference executor says what went wrong. One executor serves
// HTTP and, through `GraphqlExecutor`, the sockets of the realtime gateway.
import type { Principal } from "@holdfast/contracts/Principal"
import { isStaff } from "@holdfast/contracts/Principal"
import { GraphqlExecutor, type GraphqlRequest } from "@holdfast/contracts/wire/GraphqlExecutor"
import { Queries } from "@holdfast/resilience/Limits"
import { Context, Duration, Effect, Layer, Metric, Option } from "effect"
import { type ExecutionResult, execute, GraphQLError } from "graphql"
import { type Answer, Reads } from "../Reads.ts"
import { SharedReads } from "../SharedReads.ts"
import { Documents, type Prepared, planFor } from "./Documents.ts"
import { forbidden, isInternal, toPublic } from "./Errors.ts"
import { type PlannedSelection, runPlan } from "./Plan.ts"
import { type Downloads, type Environment, RequestContext } from "./RequestContext.ts"
import { schema } from "./Schema.ts"
import type { TicketConnection } from "./TicketConnection.ts"
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

type LogAnnotations = Readonly<Record<string, string>>

/** Runs requests; the process's one, so that what is parsed and read can be shared. */
export class QueryExecutor extends Context.Service<
  QueryExecutor,
  {
    /** In the trace of whoever runs it. */
    readonly execute: (viewer: Principal, request: QueryRequest) => Effect.Effect<Executed>
    /** The same for a request that nobody traces, of which a busy desk has thousands a second. */
    readonly answer: (viewer: Principal, request: QueryRequest, annotations: LogAnnotations) => Promise<Executed>
  }
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
        pages: new SharedReads<Answer<TicketConnection>>(),
        downloads: options.downloads,
        waiters: new Waiters()
      }
      const runPromise = Effect.runPromiseWith(services)
      const run = async (viewer: Principal, request: QueryRequest, read: Environment["run"]): Promise<Outcome> => {
        const startedAt = performance.now()
        const context = new RequestContext(viewer, { ...shared, run: read })
        const outcome = await inTime(executeIn(documents, context, request))
        const source = "errors" in outcome.executed.response ? "error" : (context.freshness?.source ?? "none")
        measured[source].updateUnsafe(performance.now() - startedAt, services)
        return outcome
      }
      const untraced: Environment["run"] = (effect) => runPromise(Effect.withTracerEnabled(effect, false))
      return QueryExecutor.of({
        answer: async (viewer, request, annotations) => {
          const { executed, internal } = await run(viewer, request, untraced)
          if (internal.length > 0) await runPromise(Effect.annotateLogs(logged(internal), annotations))
          return executed
        },
        execute: Effect.fn("QueryExecutor.execute")(function* (viewer, request) {
          const span = yield* Effect.option(Effect.currentSpan)
          const traced: Environment["run"] = (effect) =>
            runPromise(Option.isNone(span) ? effect : Effect.withParentSpan(effect, span.value))
          const { executed, internal } = yield* Effect.promise(() => run(viewer, request, traced))
          yield* logged(internal)
          return executed
        })
      })
    })
  )

const logged = (internal: ReadonlyArray<GraphQLError>) =>
  Effect.forEach(internal, (error) => Effect.logError("a query failed", error.originalError ?? error), {
    discard: true
  })

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
          extensions: { code: "READ_UNAVAILABLE", retryAfterMs: Duration.toMillis(Queries.retryAfter) }
        }).toJSON()
      ],
      data: null,
      extensions: { freshness: null }
    }
  },
  internal: []
}

const inTime = async (outcome: Promise<Outcome>): Promise<Outcome> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Outcome>((done) => {
    timer = setTimeout(() => done(tookTooLong), Duration.toMillis(Queries.requestDeadline))
  })
  try {
    return await Promise.race([outcome, late])
  } finally {
    clearTimeout(timer)
  }
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
