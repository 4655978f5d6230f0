// The people of notify.bench.ts, in a process of their own: one who opens tickets at a steady rate, whatever the desk does, and one who watches all
// tickets. Says of each ticket when its command was acknowledged and when the watcher was told.
import { randomUUID } from "node:crypto"
import { setTimeout as delay } from "node:timers/promises"
import { createClient } from "graphql-ws"
import { WebSocket } from "ws"

export interface NotifyOrder {
  readonly commandUrl: string
  readonly realtimeUrl: string
  /** They open tickets in turn. */
  readonly tokens: ReadonlyArray<string>
  readonly watcher: string
  readonly perSecond: number
  readonly count: number
}

/** Milliseconds of the wall clock, which all processes of a machine share. */
export interface Notified {
  readonly position: number
  readonly acknowledgedAt: number
  readonly notifiedAt: number
}

const now = (): number => performance.timeOrigin + performance.now()
const body = "It prints empty pages since this morning. ".repeat(5)

const open = async ({ commandUrl }: NotifyOrder, token: string): Promise<readonly [id: string, at: number]> => {
  const response = await fetch(`${commandUrl}/v1/tickets`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      "idempotency-key": randomUUID()
    },
    body: JSON.stringify({ subject: "Floor 3", body })
  })
  const at = now()
  const answer: unknown = await response.json()
  if (typeof answer !== "object" || answer === null || !("streamId" in answer)) {
    throw new Error(`${response.status} ${JSON.stringify(answer)}`)
  }
  return [String(answer.streamId), at]
}

interface Told {
  readonly position: number
  readonly at: number
}

/** Fills `told` by ticket; resolves once it listens. */
const watch = async ({ realtimeUrl, watcher }: NotifyOrder, told: Map<string, Told>): Promise<() => void> => {
  const listening = Promise.withResolvers<void>()
  const client = createClient({
    url: realtimeUrl,
    webSocketImpl: WebSocket,
    lazy: false,
    retryAttempts: 0,
    connectionParams: { authorization: `Bearer ${watcher}` },
    on: {
      connected: () => {
        client.subscribe<{ ticketListChanged: { ticketId: string; position: number } }>(
          { query: "subscription { ticketListChanged(list: all) { ticketId position } }" },
          {
            next: ({ data }) => {
              const change = data?.ticketListChanged
              if (change !== undefined) told.set(change.ticketId, { position: change.position, at: now() })
            },
            error: (cause) => listening.reject(cause),
            complete: () => undefined
          }
        )
        listening.resolve()
      }
    }
  })
  await listening.promise
  // The subscription follows the connection; the first tickets, which are not counted, come after it.
  await delay(500)
  return () => void client.dispose()
}

const run = async (order: NotifyOrder): Promise<ReadonlyArray<Notified>> => {
  const told = new Map<string, Told>()
  const stop = await watch(order, told)
  const startedAt = now()
  const opening: Array<Promise<readonly [id: string, at: number]>> = []
  for (let sent = 0; sent < order.count; sent++) {
    const dueAt = startedAt + (sent * 1000) / order.perSecond
    while (now() < dueAt) await delay(1)
    opening.push(open(order, order.tokens[sent % order.tokens.length] ?? ""))
  }
  const opened = await Promise.all(opening)
  while (opened.some(([id]) => !told.has(id))) await delay(20)
  stop()
  return opened.flatMap(([id, acknowledgedAt]) => {
    const one = told.get(id)
    return one === undefined ? [] : [{ position: one.position, acknowledgedAt, notifiedAt: one.at }]
  })
}

process.on("message", (order: NotifyOrder) => {
  run(order).then(
    (result) => process.send?.(result, () => process.exit(0)),
    (cause: unknown) => {
      console.error(cause)
      process.exit(1)
    }
  )
})
