// A page of anything, in the shape that GraphQL clients page through.

export interface Edge<A> {
  readonly cursor: string
  readonly node: A
}

export interface PageInfo {
  readonly hasNextPage: boolean
  readonly hasPreviousPage: boolean
  readonly startCursor: string | null
  readonly endCursor: string | null
}

export interface Connection<A> {
  readonly edges: ReadonlyArray<Edge<A>>
  readonly nodes: ReadonlyArray<A>
  readonly pageInfo: PageInfo
}

export const connection = <A>(
  edges: ReadonlyArray<Edge<A>>,
  hasNextPage: boolean,
  hasPreviousPage: boolean
): Connection<A> => ({
  edges,
  nodes: edges.map(({ node }) => node),
  pageInfo: {
    hasNextPage,
    hasPreviousPage,
    startCursor: edges[0]?.cursor ?? null,
    endCursor: edges.at(-1)?.cursor ?? null
  }
})
