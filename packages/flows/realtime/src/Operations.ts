// From a client's document to an operation that the hub can run. A subscription is parsed, validated and bounded here once; its
// key leaves out `after`, so that subscribers who differ only in where they resume share one group and its encoded events.
import { createHash } from "node:crypto"
import { Realtime } from "@holdfast/resilience/Limits"
import {
  createSourceEventStream,
  type DocumentNode,
  executeSubscriptionEvent,
  GraphQLError,
  Kind,
  parse,
  print,
  validate,
  validateSubscriptionArgs,
  visit
} from "graphql"
import type { SubscribePayload } from "graphql-ws"
import type { Operation } from "./Hub.ts"
import type { Interest } from "./Interest.ts"
import { notificationOf, payloadOf } from "./Payload.ts"
import type { PresenceOperation } from "./PresenceHub.ts"
import { Opening, realtimeSchema } from "./RealtimeSchema.ts"

/** A parsed subscription document, the same for all who send it. */
interface Prepared {
  readonly document: DocumentNode
  readonly errors: ReadonlyArray<GraphQLError>
  /** The document without `after`. */
  readonly text: string
  /** The variables that can change what an event looks like or which events come. */
  readonly variables: ReadonlySet<string>
}

type ValidatedSubscription = Exclude<ReturnType<typeof validateSubscriptionArgs>, ReadonlyArray<GraphQLError>>

const encoder = new TextEncoder()

/** Throws the `GraphQLError` of a document that cannot be parsed. */
export const parseDocument = (query: string): DocumentNode =>
  parse(query, { maxTokens: Realtime.documentTokensMax, noLocation: true })

/** The operation, or why it cannot run. */
export const prepareSubscription = async (
  document: DocumentNode,
  { operationName, query, variables }: SubscribePayload
): Promise<Operation | PresenceOperation | ReadonlyArray<GraphQLError>> => {
  const prepared = preparedOf(query, document)
  if (prepared.errors.length > 0) return prepared.errors
  const opening = new Opening()
  const validated = validateSubscriptionArgs({
    schema: realtimeSchema,
    document: prepared.document,
    contextValue: opening,
    operationName: operationName ?? null,
    variableValues: variables ?? null,
    hideSuggestions: true
  })
  if (!("operation" in validated)) return validated
  const opened = await createSourceEventStream(validated)
  if ("errors" in opened && opened.errors !== undefined) return opened.errors
  const key = keyOf(prepared, operationName ?? "", variables ?? {})
  const { presenceOf } = opening
  if (presenceOf !== null) return { key, presenceOf, encode: encodePresenceWith(validated) }
  if (opening.asked === null) return [new GraphQLError("The document asks for nothing.")]
  return { key, ...opening.asked, encode: encodeWith(validated, opening.asked.interest) }
}

const encodeWith = (validated: ValidatedSubscription, interest: Interest): Operation["encode"] => {
  return (envelope, change, reader) => {
    const rootValue = rootOf(interest, envelope, change, reader)
    const result = resultOf(validated, rootValue)
    const extensions = { feed: { position: envelope.position } }
    return encoder.encode(JSON.stringify({ ...result, extensions }))
  }
}

/** Nothing to resume from: it carries no position. */
const encodePresenceWith =
  (validated: ValidatedSubscription): PresenceOperation["encode"] =>
  (view) =>
    encoder.encode(JSON.stringify(resultOf(validated, { presence: view })))

const resultOf = (validated: ValidatedSubscription, rootValue: unknown) => {
  const result = executeSubscriptionEvent({ ...validated, rootValue })
  if (result instanceof Promise || "then" in result) throw new Error("an event's fields are there at once")
  return result
}

/** What is wrong with a document, whatever its kind. */
export const documentErrors = (query: string, document: DocumentNode): ReadonlyArray<GraphQLError> =>
  preparedOf(query, document).errors

const rootOf = (interest: Interest, ...[envelope, change, reader]: Parameters<Operation["encode"]>) => {
  if (interest._tag === "Notifications") return { myNotifications: notificationOf(envelope, reader) }
  const payload = payloadOf(envelope, change, reader)
  return { ticketChanged: payload, ticketListChanged: payload, fileProgress: payload }
}

const keyOf = ({ text, variables }: Prepared, operationName: string, given: Record<string, unknown>): string => {
  const relevant = [...variables].sort().map((name) => [name, given[name] ?? null])
  return createHash("sha256")
    .update(JSON.stringify([text, operationName, relevant]))
    .digest("base64")
}

const documents = new Map<string, Prepared>()

const preparedOf = (query: string, document: DocumentNode): Prepared => {
  const known = documents.get(query)
  if (known !== undefined) return known
  const prepared = prepare(document)
  documents.set(query, prepared)
  const oldest = documents.keys().next()
  if (documents.size > Realtime.documentsCachedMax && !oldest.done) documents.delete(oldest.value)
  return prepared
}

const prepare = (document: DocumentNode): Prepared => {
  const variables = new Set<string>()
  let fieldCount = 0
  const withoutAfter = visit(document, {
    [Kind.FIELD]: () => {
      fieldCount++
    },
    // Only the root fields have this argument, and it decides where a subscription starts, never what an event looks like.
    [Kind.ARGUMENT]: (node) => (node.name.value === "after" ? null : undefined),
    [Kind.VARIABLE_DEFINITION]: () => false,
    [Kind.VARIABLE]: (node) => {
      variables.add(node.name.value)
    }
  })
  const tooMany = new GraphQLError(`A subscription may name at most ${Realtime.subscriptionFieldsMax} fields.`)
  const errors =
    fieldCount > Realtime.subscriptionFieldsMax
      ? [tooMany]
      : validate(realtimeSchema, document, undefined, { hideSuggestions: true })
  return { document, errors, text: print(withoutAfter), variables }
}
