// A validated operation made into a plan once, so that answering it is a walk over plain objects: no per-field bookkeeping, and promises
// only where a resolver makes one. The plan knows only the way on which nothing goes wrong; anything else gives up, and the reference
// executor runs the operation again and says what is wrong as the specification wants it. A test holds both to equal answers.
import { Queries } from "@holdfast/resilience/Limits"
import {
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  GraphQLIncludeDirective,
  type GraphQLObjectType,
  GraphQLSkipDirective,
  getArgumentValues,
  getDirectiveValues,
  getNamedType,
  getNullableType,
  isListType,
  isNonNullType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode
} from "graphql"
import type { JsonText } from "./JsonText.ts"
import { OneReadForMany } from "./OneReadForMany.ts"
import type { RequestContext } from "./RequestContext.ts"

type Variables = NonNullable<Parameters<typeof getArgumentValues>[2]>
type Source = Readonly<Record<string, unknown>>
type Resolver = (source: unknown, args: Source, context: RequestContext) => unknown

interface PlannedField {
  readonly key: string
  readonly name: string
  readonly resolve: Resolver | null
  readonly args: Source
  readonly nonNull: boolean
  readonly list: { readonly itemNonNull: boolean } | null
  readonly selection: PlannedSelection | null
}

export interface PlannedSelection {
  readonly typeName: string
  readonly fields: ReadonlyArray<PlannedField>
  /** Nothing below is resolved: what it makes of a source depends on that source alone. */
  readonly isPlain: boolean
}

/** This way leads no further: the reference executor has to say why. */
export class GaveUp extends Error {}

/** For one set of variables. Introspection is not planned: a selection that has it gives up when run. */
export const planOf = (
  root: GraphQLObjectType,
  operation: OperationDefinitionNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
  variables: Variables
): PlannedSelection => planSelection(root, [operation.selectionSet], fragments, variables)

const planSelection = (
  type: GraphQLObjectType,
  sets: ReadonlyArray<SelectionSetNode>,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
  variables: Variables
): PlannedSelection => {
  const byKey = new Map<string, Array<FieldNode>>()
  for (const set of sets) collect(set, fragments, variables, byKey)
  const fields = [...byKey].map(([key, nodes]) => planField(type, key, nodes, fragments, variables))
  const isPlain = fields.every(
    ({ name, resolve, selection }) => (resolve === null || name === typeName) && (selection?.isPlain ?? true)
  )
  return { typeName: type.name, fields, isPlain }
}

/** There are no interfaces and unions, so a fragment that is valid here always applies. */
const collect = (
  { selections }: SelectionSetNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
  variables: Variables,
  byKey: Map<string, Array<FieldNode>>
): void => {
  for (const selection of selections) {
    if (!isIncluded(selection, variables)) continue
    if (selection.kind === Kind.FIELD) {
      const key = selection.alias?.value ?? selection.name.value
      const nodes = byKey.get(key)
      if (nodes === undefined) byKey.set(key, [selection])
      else nodes.push(selection)
    } else {
      const set =
        selection.kind === Kind.INLINE_FRAGMENT
          ? selection.selectionSet
          : fragments.get(selection.name.value)?.selectionSet
      if (set !== undefined) collect(set, fragments, variables, byKey)
    }
  }
}

const isIncluded = (selection: SelectionNode, variables: Variables): boolean => {
  if (selection.directives === undefined || selection.directives.length === 0) return true
  return (
    getDirectiveValues(GraphQLSkipDirective, selection, variables)?.if !== true &&
    getDirectiveValues(GraphQLIncludeDirective, selection, variables)?.if !== false
  )
}

const planField = (
  type: GraphQLObjectType,
  key: string,
  nodes: ReadonlyArray<FieldNode>,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
  variables: Variables
): PlannedField => {
  const [node] = nodes
  const name = node?.name.value ?? ""
  const field = type.getFields()[name]
  if (node === undefined || field === undefined)
    return { ...typeNameField, key, name, resolve: name === typeName ? () => type.name : giveUp }
  const bare = getNullableType(field.type)
  const named = getNamedType(field.type)
  const sets = nodes.flatMap(({ selectionSet }) => selectionSet ?? [])
  return {
    key,
    name,
    resolve: resolverOf(field),
    args: field.args.length === 0 ? noArguments : getArgumentValues(field, node, variables),
    nonNull: isNonNullType(field.type),
    list: isListType(bare) ? { itemNonNull: isNonNullType(bare.ofType) } : null,
    selection: isObjectType(named) ? planSelection(named, sets, fragments, variables) : null
  }
}

const noArguments: Source = {}
const giveUp = () => {
  throw new GaveUp()
}
const typeName = "__typename"
const typeNameField = { args: noArguments, nonNull: true, list: null, selection: null }

/** Resolvers of this schema take no `info`: a plan has none. */
const resolverOf = ({ resolve }: GraphQLField<unknown, unknown>): Resolver | null =>
  resolve === undefined
    ? null
    : (source, args, context): unknown => Reflect.apply(resolve, undefined, [source, args, context])

/** Objects that an answer may hold, pages taken as full. */
export const costOf = (selection: PlannedSelection, times = 1): number => {
  let cost = 0
  for (const field of selection.fields) {
    if (field.selection === null) continue
    const first = field.args.first
    const page = typeof first === "number" ? Math.max(1, first) : "first" in field.args ? Queries.pageDefault : 1
    cost += times + costOf(field.selection, times * page)
  }
  return cost
}

/** The data of an answer; rejects with whatever went wrong. */
export const runPlan = async (selection: PlannedSelection, context: RequestContext): Promise<Source> => {
  const run: Run = { context, pending: [], failure: null }
  const data = runSelection(selection, {}, run, true)
  while (run.pending.length > 0) await Promise.all(run.pending.splice(0))
  if (run.failure !== null) throw run.failure.error
  return data
}

interface Run {
  readonly context: RequestContext
  /** None of them ever rejects. */
  readonly pending: Array<Promise<void>>
  failure: { readonly error: unknown } | null
}

const runSelection = (selection: PlannedSelection, source: Source, run: Run, isRoot = false): Source => {
  const data: Record<string, unknown> = {}
  for (const field of selection.fields) {
    const value = field.resolve === null ? source[field.name] : field.resolve(source, field.args, run.context)
    if (value instanceof Promise) {
      data[field.key] = null
      run.pending.push(later(value, field, data, run, isRoot))
    } else data[field.key] = complete(field, value, run)
  }
  return data
}

const later = async (
  promise: Promise<unknown>,
  field: PlannedField,
  data: Record<string, unknown>,
  run: Run,
  isRoot: boolean
) => {
  try {
    const value = await promise
    data[field.key] = (isRoot ? sharedText(field, value, run) : null) ?? complete(field, value, run)
  } catch (error) {
    run.failure ??= { error }
  }
}

/** Without a resolver below, every reader of this very object is shown the same. */
const sharedText = (field: PlannedField, value: unknown, run: Run): JsonText | null => {
  const { selection } = field
  if (!(value instanceof OneReadForMany) || selection === null || !selection.isPlain) return null
  return value.textFor(selection, () => complete(field, value, run))
}

const complete = (field: PlannedField, value: unknown, run: Run): unknown => {
  if (value === null || value === undefined) return field.nonNull ? giveUp() : null
  if (field.list === null) return completeItem(field, value, run)
  if (!Array.isArray(value)) return giveUp()
  const { itemNonNull } = field.list
  return value.map((item) =>
    item === null || item === undefined ? (itemNonNull ? giveUp() : null) : completeItem(field, item, run)
  )
}

const completeItem = (field: PlannedField, value: unknown, run: Run): unknown => {
  if (field.selection === null) return value
  return isSource(value) ? runSelection(field.selection, value, run) : giveUp()
}

const isSource = (value: unknown): value is Source => typeof value === "object" && value !== null
