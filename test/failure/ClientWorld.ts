// A desk on the embedded default with a line before each of its services that a test may break, and clients that reach it by these lines
// only. What happened is asked of the desk itself, past the lines.
import { type Client, createClient } from "@holdfast/client"
import type { DeskUrls } from "@holdfast/client/Desk"
import type { FeedItem, TicketChange } from "@holdfast/client/Feeds"
import type { Ticket } from "@holdfast/client/Queries"
import { type FaultProxy, type FaultTarget, faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { Effect, type Scope } from "effect"
import { until } from "../flows/Clients.ts"
import { type Desk, startDesk } from "../flows/Desk.ts"

const services = ["command", "query", "realtime", "file"] as const
type Service = (typeof services)[number]

export interface ClientWorld {
  readonly desk: Desk
  readonly token: string
  readonly lines: Readonly<Record<Service, FaultProxy>>
  /** By the lines. */
  readonly client: Client
  /** Past them. */
  readonly direct: Client
  /** How often the client by the lines asked for a token: once per attempt. */
  readonly attempts: () => number
}

/** `lead`: another way to a service, such as over a bad link, which the line then stands before. */
export const clientWorld = (
  lead: (target: FaultTarget) => Effect.Effect<FaultTarget, never, Scope.Scope> = Effect.succeed
): Effect.Effect<ClientWorld, never, Scope.Scope> =>
  Effect.gen(function* () {
    const desk = yield* Effect.acquireRelease(
      Effect.promise(() => startDesk("embedded")),
      (started) => Effect.promise(() => started.stop())
    )
    const token = yield* Effect.promise(() => desk.token("agent", "ada", "Ada"))
    const line = (service: Service) => Effect.flatMap(lead(targetOf(desk.url[service])), faultProxy)
    const lines = {
      command: yield* line("command"),
      query: yield* line("query"),
      realtime: yield* line("realtime"),
      file: yield* line("file")
    }
    let attempts = 0
    const urlsOf = (at: (service: Service) => string): DeskUrls => ({
      commands: at("command"),
      queries: at("query"),
      realtime: at("realtime"),
      files: at("file")
    })
    const client = yield* madeClient(
      urlsOf((service) => lines[service].through(desk.url[service])),
      () => {
        attempts++
        return token
      }
    )
    const direct = yield* madeClient(
      urlsOf((service) => desk.url[service]),
      () => token
    )
    return { desk, token, lines, client, direct, attempts: () => attempts }
  })

const madeClient = (urls: DeskUrls, token: () => string) =>
  Effect.acquireRelease(
    Effect.sync(() => createClient({ urls, token })),
    (client) => Effect.sync(() => client.close())
  )

export const openTicket = async ({ commands }: Client): Promise<string> => {
  const opened = await commands.OpenTicket({ subject: "A bad line", body: "Can you hear me?" })
  if (opened.status !== "accepted") throw new Error(`no ticket was opened: ${opened.status}`)
  return opened.streamId
}

/** Every message of a ticket, oldest first, once there are so many. */
export const conversationOf = ({ queries }: Client, ticketId: string, count: number) =>
  until(`the ticket has ${count} messages`, async () => {
    const messages: Array<Ticket["conversation"]["nodes"][number]> = []
    for (let after: string | null = ""; after !== null; ) {
      const page = await queries.ticket(ticketId, { first: 100, ...(after === "" ? {} : { after }) })
      if (page.status === "failed" || page.data === null) return null
      messages.push(...page.data.conversation.nodes)
      const { endCursor, hasNextPage } = page.data.conversation.pageInfo
      after = hasNextPage ? endCursor : null
    }
    return messages.length >= count ? messages : null
  })

type Item = FeedItem<TicketChange, Ticket | null>

export interface Watched {
  readonly items: ReadonlyArray<Item>
  /** What was said; a ticket's status changes with some of it. */
  readonly bodies: () => ReadonlyArray<string>
  readonly stop: () => void
}

/** A ticket's feed, collected until it is stopped. */
export const watch = (client: Client, ticketId: string, from: "now" | "snapshot" | number): Watched => {
  const items: Array<Item> = []
  const stopping = new AbortController()
  const run = async () => {
    for await (const item of client.feeds.ticket(ticketId, { from, signal: stopping.signal })) items.push(item)
  }
  const running = run()
  running.catch((error: unknown) => items.push({ type: "ended", code: "THREW", message: String(error) }))
  return {
    items,
    bodies: () =>
      items.flatMap((item) => (item.type === "change" && item.change.body !== null ? [item.change.body] : [])),
    stop: () => stopping.abort()
  }
}
