// graphql-transport-ws (https://github.com/graphql/graphql-over-http, and graphql-ws' PROTOCOL.md) as graphql-ws implements it: the
// handshake, its deadline, one subscriber per id, the order of messages and the codes of every breach are the library's. Ours are the
// three answers that it asks for: who is this, what does this document mean, and what does it give.
import type { Principal } from "@holdfast/contracts/Principal"
import type { GraphqlRequest, GraphqlResponse } from "@holdfast/contracts/wire/GraphqlExecutor"
import { Realtime } from "@holdfast/resilience/Limits"
import { Duration } from "effect"
import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  GraphQLError,
  type GraphQLFormattedError,
  getOperationAST
} from "graphql"
import { type ConnectionInitMessage, type Context, makeServer, type Server, type SubscribePayload } from "graphql-ws"
import { answerOnce } from "./Answer.ts"
import type { Connection } from "./Connection.ts"
import type { Hub, Operation } from "./Hub.ts"
import { documentErrors, parseDocument, prepareSubscription } from "./Operations.ts"
import type { PresenceOperation } from "./PresenceHub.ts"
import type { PresenceService } from "./PresenceService.ts"
import { realtimeSchema } from "./RealtimeSchema.ts"
import { ResyncRequired } from "./ResyncRequired.ts"

export type ConnectionExtra = { readonly connection: Connection } & Record<PropertyKey, unknown>

export interface ProtocolOptions {
  readonly hub: Hub
  /** The answer to `connection_init`; null when the socket was closed instead. */
  readonly authenticate: (connection: Connection, params: unknown) => Promise<Record<string, unknown> | null>
  readonly query: (principal: Principal, request: GraphqlRequest) => Promise<GraphqlResponse>
  readonly presence: PresenceService
}

type Init = ConnectionInitMessage["payload"]
type OpenContext = Context<Init, ConnectionExtra>

/** What `subscribe` and `execute` find in the arguments that `onSubscribe` made. */
class Asked {
  readonly id: string
  readonly context: OpenContext
  readonly principal: Principal
  readonly request: GraphqlRequest
  readonly operation: Operation | PresenceOperation | "mutation" | null

  constructor(fields: Omit<Asked, never>) {
    this.id = fields.id
    this.context = fields.context
    this.principal = fields.principal
    this.request = fields.request
    this.operation = fields.operation
  }
}

export const makeProtocol = (options: ProtocolOptions): Server<ConnectionExtra> =>
  makeServer<Init, ConnectionExtra>({
    connectionInitWaitTimeout: Duration.toMillis(Realtime.initDeadline),
    onConnect: async (context) =>
      (await options.authenticate(context.extra.connection, context.connectionParams)) ?? false,
    // Waits for nothing: an id that is ended and used again meanwhile would be taken for the old one.
    onSubscribe: ask,
    subscribe: (args) => {
      const { context, id, operation, principal } = askedOf(args)
      if (operation === null || operation === "mutation") throw new Error("a subscription has an operation")
      if ("presenceOf" in operation) {
        return context.extra.connection.runPresence(options.presence, id, operation, principal)
      }
      return context.extra.connection.run(options.hub, id, operation, principal)
    },
    execute: (args) => {
      const asked = askedOf(args)
      return answerOnce(() =>
        asked.operation === "mutation" ? runMutation(options, asked, args.document) : runQuery(options, asked)
      )
    },
    // What the query flow answers is formatted already.
    onNext: (_context, _id, _payload, _args, { data, errors, extensions }) => ({
      ...(errors === undefined ? {} : { errors: errors.map(plain) }),
      ...(data === undefined ? {} : { data }),
      ...(extensions === undefined ? {} : { extensions })
    }),
    onError: (_context, _id, _payload, errors) => errors.map(formatted)
  })

const ask = async (
  context: OpenContext,
  id: string,
  payload: SubscribePayload
): Promise<ExecutionArgs | ReadonlyArray<GraphQLError>> => {
  const { principal } = context.extra.connection
  if (principal === null) return [refused("FORBIDDEN", "Not authenticated.")]
  if (Object.keys(context.subscriptions).length > Realtime.operationsPerSocketMax) {
    return [
      refused("TOO_MANY_OPERATIONS", `At most ${Realtime.operationsPerSocketMax} operations at once on one socket.`)
    ]
  }
  const document = parsed(payload.query)
  if (document instanceof GraphQLError) return [document]
  const operation = await operationOf(document, payload)
  if (isErrors(operation)) return operation
  const { operationName, query, variables } = payload
  const request = { query, variables: variables ?? null, operationName: operationName ?? null }
  const contextValue = new Asked({ id, context, principal, request, operation })
  return { schema: realtimeSchema, document, operationName: operationName ?? null, contextValue }
}

const isErrors = (value: Asked["operation"] | ReadonlyArray<GraphQLError>): value is ReadonlyArray<GraphQLError> =>
  Array.isArray(value)

const parsed = (query: string): DocumentNode | GraphQLError => {
  try {
    return parseDocument(query)
  } catch (error) {
    return error instanceof GraphQLError ? error : refused("BAD_USER_INPUT", "The document cannot be read.")
  }
}

/** Null: a query, which the query flow validates against its own schema. */
const operationOf = async (document: DocumentNode, payload: SubscribePayload) => {
  const ast = getOperationAST(document, payload.operationName)
  if (!ast)
    return [refused("BAD_USER_INPUT", "The document has no such operation; operationName says which of several.")]
  if (ast.operation === "query") return null
  if (ast.operation === "subscription") return await prepareSubscription(document, payload)
  const [error] = documentErrors(payload.query, document)
  if (error === undefined) return "mutation" as const
  return [
    refused("BAD_USER_INPUT", `${error.message} Over a socket one says who writes; what lasts goes to the command API.`)
  ]
}

/** What lasts is written by commands; who writes just now is said here. */
const runMutation = (
  { presence }: ProtocolOptions,
  { context, principal, request }: Asked,
  document: DocumentNode
): Promise<ExecutionResult> => {
  const { operationName, query, variables } = request
  const payload = { query, variables: { ...variables }, operationName: operationName ?? null }
  return presence.mutate(context.extra.connection, principal, document, payload)
}

const runQuery = async ({ query }: ProtocolOptions, { context, principal, request }: Asked) => {
  const { connection } = context.extra
  if (connection.queriesUnderWay >= Realtime.queriesPerSocketMax) {
    return { errors: [refused("TOO_MANY_OPERATIONS", `At most ${Realtime.queriesPerSocketMax} queries at once.`)] }
  }
  connection.queriesUnderWay++
  try {
    return await query(principal, request)
  } finally {
    connection.queriesUnderWay--
  }
}

const askedOf = ({ contextValue }: ExecutionArgs): Asked => {
  if (contextValue instanceof Asked) return contextValue
  throw new Error("the arguments are from onSubscribe")
}

const refused = (code: string, message: string) => new GraphQLError(message, { extensions: { code } })

const plain = ({ extensions, locations, message, path }: GraphQLError): GraphQLFormattedError => ({
  message,
  ...(locations === undefined ? {} : { locations }),
  ...(path === undefined ? {} : { path }),
  ...(extensions === undefined ? {} : { extensions })
})

const formatted = (error: GraphQLError) => {
  const { cause } = error
  if (cause instanceof ResyncRequired) return cause.formatted
  // What broke in here is for the log, and its words are for nobody else.
  const isOurs = cause instanceof Error && !(cause instanceof GraphQLError)
  return isOurs
    ? refused("INTERNAL", "This failed for a reason of our own; it is being looked into.").toJSON()
    : error.toJSON()
}
