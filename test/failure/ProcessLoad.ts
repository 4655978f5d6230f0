// People at work while processes come and go: plain clients that keep their connections open and repeat nothing by themselves, so that a
// refused or broken request is counted; and patient ones, which repeat the same command until they know. What each was told is kept, to be
// compared with what the desk holds afterwards.
import { randomBytes, randomUUIDv7 } from "node:crypto"
import { setTimeout as pause } from "node:timers/promises"
import { createClient } from "graphql-ws"
import { WebSocket } from "ws"
import { query, replyByGrpc, until } from "../flows/Clients.ts"
import type { Desk } from "../flows/Desk.ts"

export interface People {
  readonly customer: string
  readonly agent: string
}

/** Each kind of request, and how many of them went wrong and how. */
export interface Tally {
  readonly done: Map<string, number>
  readonly failed: Array<string>
}

export const openTicket = async (desk: Desk, token: string, commandId: string): Promise<Response> =>
  post(`${desk.url.command}/v1/tickets`, token, commandId, { subject: "The lift stands still", body: "On floor two." })

export const reply = (
  desk: Desk,
  token: string,
  ticketId: string,
  commandId: string,
  signal?: AbortSignal
): Promise<Response> =>
  post(`${desk.url.command}/v1/tickets/${ticketId}/replies`, token, commandId, { body: "Still there." }, signal)

const post = (
  url: string,
  token: string,
  commandId: string,
  body: unknown,
  signal: AbortSignal | null = null
): Promise<Response> =>
  fetch(url, {
    signal,
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", "idempotency-key": commandId },
    body: JSON.stringify(body)
  })

/** Between two requests of one kind: a load that takes every processor would measure the machine, not the change of processes. */
const paceMs = 250

/** Runs each of these again and again until it is told to stop; a failure ends nothing and is counted. */
export const keepDoing = (work: Readonly<Record<string, () => Promise<void>>>) => {
  const tally: Tally = { done: new Map(), failed: [] }
  let goesOn = true
  const loops = Object.entries(work).map(async ([name, once]) => {
    while (goesOn) {
      try {
        await once()
        tally.done.set(name, (tally.done.get(name) ?? 0) + 1)
      } catch (error) {
        tally.failed.push(`${name}: ${describe(error)}`)
      }
      await pause(paceMs)
    }
  })
  return async (): Promise<Tally> => {
    goesOn = false
    await Promise.all(loops)
    return tally
  }
}

const describe = (error: unknown): string =>
  error instanceof Error ? `${error.message} ${error.cause instanceof Error ? error.cause.message : ""}` : String(error)

const expectStatus = async (response: Response, ...statuses: ReadonlyArray<number>): Promise<Response> => {
  const text = await response.text()
  if (!statuses.includes(response.status)) throw new Error(`answered ${response.status}: ${text.slice(0, 200)}`)
  return response
}

/** Every path of the desk, by clients that repeat nothing. */
export const plainWork = (desk: Desk, { agent, customer }: People, ticketId: string, downloadUrl: string) => ({
  "open a ticket": async () => void (await expectStatus(await openTicket(desk, customer, randomUUIDv7()), 200)),
  reply: async () => void (await expectStatus(await reply(desk, customer, ticketId, randomUUIDv7()), 200)),
  gRPC: async () => void (await replyByGrpc(desk, customer, { ticketId, body: "By gRPC." }, randomUUIDv7())),
  query: async () =>
    void (await query(desk, agent, "query($id: ID!) { ticket(id: $id) { subject } }", { id: ticketId })),
  upload: () => uploadPlainly(desk, customer),
  download: async () => void (await expectStatus(await fetch(downloadUrl), 200))
})

const tus = (token: string) => ({ authorization: `Bearer ${token}`, "tus-resumable": "1.0.0" })

/** In two parts, so that the second may meet another process than the first; the answer is the file's id. */
export const uploadPlainly = async (desk: Desk, token: string): Promise<void> => {
  const bytes = randomBytes(32 * 1024)
  const named = `filename ${Buffer.from("a.bin").toString("base64")},filetype ${Buffer.from("text/plain").toString("base64")}`
  const created = await fetch(`${desk.url.file}/files/`, {
    method: "POST",
    headers: { ...tus(token), "upload-length": String(bytes.length), "upload-metadata": named }
  })
  await expectStatus(created, 201)
  const url = new URL(created.headers.get("location") ?? "", `${desk.url.file}/files/`)
  for (const [begin, end] of [
    [0, 16_384],
    [16_384, bytes.length]
  ] as const) {
    const headers = { "content-type": "application/offset+octet-stream", "upload-offset": String(begin) }
    const sent = await fetch(url, {
      method: "PATCH",
      headers: { ...tus(token), ...headers },
      body: bytes.subarray(begin, end)
    })
    await expectStatus(sent, 204)
  }
}

interface Change {
  readonly ticketChanged: { readonly position: number; readonly streamVersion: number }
}

/** Follows a ticket and resumes after the last position that it saw, as every client should; counts connections that could not be made. */
export const follow = (desk: Desk, token: string, ticketId: string, after: number) => {
  const followed = { versions: [] as Array<number>, refused: 0, resumed: 0 }
  const text =
    "subscription($id: ID!, $after: Position) { ticketChanged(id: $id, after: $after) { position streamVersion } }"
  let goesOn = true
  let last = after
  const once = async () => {
    const client = createClient({
      url: desk.url.realtime,
      webSocketImpl: WebSocket,
      connectionParams: { authorization: `Bearer ${token}` },
      retryAttempts: 0
    })
    let isOpen = false
    client.on("connected", () => {
      isOpen = true
    })
    const changes = client.iterate<Change>({ query: text, variables: { id: ticketId, after: last } })
    const leave = () => {
      void changes.return?.()
      void client.dispose()
    }
    leaving.add(leave)
    try {
      for await (const { data } of changes) {
        if (data == null) throw new Error("the feed refused")
        last = data.ticketChanged.position
        followed.versions.push(data.ticketChanged.streamVersion)
      }
    } catch {
      if (goesOn && !isOpen) followed.refused++
    } finally {
      leaving.delete(leave)
      await client.dispose()
    }
  }
  const leaving = new Set<() => void>()
  const loop = (async () => {
    while (goesOn) {
      await once()
      followed.resumed++
    }
  })()
  const stop = async () => {
    goesOn = false
    for (const leave of leaving) leave()
    await loop
  }
  return { followed, stop }
}

/** Repeats the same command until the desk has said that it is done. */
export const openPatiently = async (desk: Desk, token: string, commandId: string): Promise<void> => {
  await until(`ticket ${commandId} is acknowledged`, async () => {
    const response = await fetch(`${desk.url.command}/v1/tickets`, {
      method: "POST",
      headers: {
        ...{ authorization: `Bearer ${token}`, "content-type": "application/json", "idempotency-key": commandId },
        connection: "close"
      },
      body: JSON.stringify({ subject: "The lift stands still", body: "Again." }),
      signal: AbortSignal.timeout(3_000)
    }).catch(() => null)
    await response?.body?.cancel()
    return response?.status === 200 ? true : null
  })
}
