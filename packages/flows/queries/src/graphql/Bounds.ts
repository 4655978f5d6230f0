// What a document may cost, found out before it is validated: validation itself takes long on a hostile document, and fragments can
// make a short one huge.
import { Queries } from "@holdfast/resilience/Limits"
import { type DocumentNode, type FragmentDefinitionNode, type GraphQLError, Kind, type SelectionSetNode } from "graphql"
import { tooCostly } from "./Errors.ts"

interface Tally {
  selections: number
  aliases: number
  introspects: boolean
}

/** Whether it introspects, or the first bound that it breaks. */
export const measure = (document: DocumentNode): { readonly introspects: boolean } | GraphQLError => {
  const fragments = new Map<string, FragmentDefinitionNode>()
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition)
  }
  const tally: Tally = { selections: 0, aliases: 0, introspects: false }
  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue
    const broken = walk(definition.selectionSet, 1, fragments, tally)
    if (broken !== null) return broken
  }
  return { introspects: tally.introspects }
}

const walk = (
  set: SelectionSetNode,
  depth: number,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
  tally: Tally
): GraphQLError | null => {
  // Spreading counts as depth too, so fragments that spread each other end here.
  if (depth > Queries.depthMax) return tooCostly(`A query may be nested ${Queries.depthMax} deep.`)
  for (const selection of set.selections) {
    if (++tally.selections > Queries.selectionsMax) {
      return tooCostly(`A query may select ${Queries.selectionsMax} fields, fragments spread out.`)
    }
    if (selection.kind === Kind.FIELD) {
      if (selection.alias !== undefined && ++tally.aliases > Queries.aliasesMax) {
        return tooCostly(`A query may have ${Queries.aliasesMax} aliases.`)
      }
      if (selection.name.value === "__schema" || selection.name.value === "__type") tally.introspects = true
    }
    const next =
      selection.kind === Kind.FRAGMENT_SPREAD
        ? fragments.get(selection.name.value)?.selectionSet
        : selection.selectionSet
    const broken = next === undefined ? null : walk(next, depth + 1, fragments, tally)
    if (broken !== null) return broken
  }
  return null
}
