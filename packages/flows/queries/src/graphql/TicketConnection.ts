// A page of tickets as one kind of reader is shown it. It is made once of each read and shared by everyone who asked for that page at that
// moment: all staff are shown the same, and a customer shares only with themselves.
import type { Principal } from "@holdfast/contracts/Principal"
import type { TicketListName } from "@holdfast/contracts/ticket/Views"
import type { TicketPage, TicketPageRequest } from "@holdfast/database/ReadTables"
import { type Connection, connection, type Edge, type PageInfo } from "./Connection.ts"
import { ticketCursor } from "./Cursors.ts"
import { type TicketNode, ticketNode } from "./Nodes.ts"
import { OneReadForMany } from "./OneReadForMany.ts"

export class TicketConnection extends OneReadForMany implements Connection<TicketNode> {
  readonly list: TicketListName
  readonly edges: ReadonlyArray<Edge<TicketNode>>
  readonly nodes: ReadonlyArray<TicketNode>
  readonly pageInfo: PageInfo
  /** Null: not asked for. */
  readonly counted: number | null

  constructor(viewer: Principal, { after, list }: Omit<TicketPageRequest, "reader">, page: TicketPage) {
    super()
    const edges = page.tickets.flatMap((record) => {
      const node = ticketNode(viewer, record)
      return node === null
        ? []
        : [{ cursor: ticketCursor({ id: node.id, updatedMs: Date.parse(node.updatedAt) }), node }]
    })
    const made = connection(edges, page.hasNextPage, after !== null)
    this.list = list
    this.edges = made.edges
    this.nodes = made.nodes
    this.pageInfo = made.pageInfo
    this.counted = page.totalCount
  }
}
