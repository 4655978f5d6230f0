// Somebody who keeps a subscription open through everything and remembers each position that came.
import { createClient } from "graphql-ws"
import { WebSocket } from "ws"
import type { Desk } from "../../flows/Desk.ts"
import type { Truth } from "./Truth.ts"

export type Watched = { readonly _tag: "Ticket"; readonly id: string } | { readonly _tag: "List" }

export interface Feed {
  /** In the order in which they came. */
  readonly positions: () => ReadonlyArray<number>
  /** What should have come, by now. */
  readonly expected: (truth: Truth) => Promise<ReadonlyArray<number>>
  readonly cuts: () => number
  readonly close: () => void
}

const texts = {
  Ticket: "subscription($id: ID!, $after: Position) { change: ticketChanged(id: $id, after: $after) { position } }",
  List: "subscription($after: Position) { change: ticketListChanged(list: all, after: $after) { position } }"
}

export const openFeed = async (desk: Desk, token: string, watched: Watched, after: number): Promise<Feed> => {
  const positions: Array<number> = []
  let cuts = 0
  const opened = Promise.withResolvers<void>()
  const client = createClient({
    url: desk.url.realtime,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${token}` },
    retryAttempts: 0,
    on: { connected: () => opened.resolve(), closed: () => cuts++ }
  })
  const variables = watched._tag === "Ticket" ? { id: watched.id, after } : { after }
  client.subscribe<{ change: { position: number } }>(
    { query: texts[watched._tag], variables },
    {
      next: ({ data }) => void (data && positions.push(data.change.position)),
      error: () => cuts++,
      complete: () => {}
    }
  )
  await opened.promise
  return {
    positions: () => positions,
    expected: async (truth) => {
      const rows = await truth.ask<{ p: number }>(
        `SELECT position::int AS p FROM core.event_log WHERE stream_type = 'ticket' AND position > $1
          AND ($2::uuid IS NULL OR stream_id = $2) ORDER BY position`,
        [after, watched._tag === "Ticket" ? watched.id : null]
      )
      return rows.map(({ p }) => p)
    },
    cuts: () => cuts,
    close: () => void client.dispose()
  }
}
