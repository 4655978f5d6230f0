// The clients that people really use, pointed at a desk: fetch, gRPC, typed RPC, tus-js-client, graphql-ws.
import { setTimeout as pause } from "node:timers/promises"
import {
  credentials,
  Metadata as GrpcMetadata,
  loadPackageDefinition,
  type ServiceClientConstructor
} from "@grpc/grpc-js"
import { load } from "@grpc/proto-loader"
import { CommandId, TicketId } from "@holdfast/contracts/Ids"
import { CommandRpcs } from "@holdfast/contracts/wire/CommandRpcs"
import { Effect, Layer } from "effect"
import { FetchHttpClient } from "effect/http"
import { RpcClient, RpcSerialization } from "effect/rpc"
import { createClient } from "graphql-ws"
import { Upload } from "tus-js-client"
import { WebSocket } from "ws"
import type { Desk } from "./Desk.ts"

// About 150 s: it only ends what hangs, on machines several times slower, too.
const untilAttemptsMax = 3_000
const untilPauseMs = 50

/** What passes by itself; every client of the desk asks again after it. */
export class NotYet extends Error {}

/** Asks again until there is an answer; fails with the sentence when none comes. */
export const until = async <A>(sentence: string, ask: () => Promise<A | null>): Promise<A> => {
  for (let attempt = 0; attempt < untilAttemptsMax; attempt++) {
    const answer = await ask().catch(nullWhileNotYet)
    if (answer !== null) return answer
    await pause(untilPauseMs)
  }
  throw new Error(`waited in vain until ${sentence}`)
}

const nullWhileNotYet = (error: unknown): null => {
  if (error instanceof NotYet) return null
  throw error
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
}

export const command = async (
  desk: Desk,
  token: string,
  path: string,
  payload: unknown,
  commandId: string,
  headers: Readonly<Record<string, string>> = {}
): Promise<Answer> => {
  const response = await fetch(`${desk.url.command}${path}`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      "idempotency-key": commandId,
      ...headers
    },
    body: JSON.stringify(payload)
  })
  return { status: response.status, headers: response.headers, body: await response.json() }
}

interface Reply {
  readonly ticketId: string
  readonly body: string
}

export const replyByRpc = (desk: Desk, token: string, { body, ticketId }: Reply, commandId: string) => {
  const protocol = RpcClient.layerProtocolHttp({ url: `${desk.url.command}/rpc` }).pipe(
    Layer.provide([RpcSerialization.layerNdjson, FetchHttpClient.layer])
  )
  return Effect.gen(function* () {
    const client = yield* RpcClient.make(CommandRpcs)
    return yield* client.ReplyToTicket(
      { ticketId: TicketId.make(ticketId), body, meta: { commandId: CommandId.make(commandId) } },
      { headers: { authorization: `Bearer ${token}` } }
    )
  }).pipe(Effect.scoped, Effect.provide(protocol), Effect.runPromise)
}

const protoFile = new URL("../../packages/contracts/src/wire/holdfast.proto", import.meta.url).pathname

export const replyByGrpc = async (desk: Desk, token: string, { body, ticketId }: Reply, commandId: string) => {
  const { holdfast } = loadPackageDefinition(await load(protoFile, { longs: Number }))
  const { Commands } = (holdfast as { v1: { Commands: ServiceClientConstructor } }).v1
  const client = new Commands(desk.grpcAddress, credentials.createInsecure())
  const metadata = new GrpcMetadata()
  metadata.set("authorization", `Bearer ${token}`)
  try {
    return await new Promise<unknown>((resolve, reject) => {
      client.ReplyToTicket?.(
        { ticketId, body, meta: { commandId } },
        metadata,
        (error: Error | null, answer: unknown) => (error === null ? resolve(answer) : reject(error))
      )
    })
  } finally {
    client.close()
  }
}

export interface Queried<Data> {
  readonly data: Data
  readonly freshness: { readonly source: string; readonly asOf: string; readonly position: number }
}

interface GraphqlError {
  readonly extensions?: { readonly code?: string }
}

interface GraphqlBody<Data> {
  readonly data: Data
  readonly errors?: ReadonlyArray<GraphqlError>
  readonly extensions: { readonly freshness: Queried<Data>["freshness"] }
}

export const query = async <Data>(
  desk: Desk,
  token: string,
  text: string,
  variables: Readonly<Record<string, unknown>> = {}
): Promise<Queried<Data>> => {
  const response = await fetch(`${desk.url.query}/graphql`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/graphql-response+json"
    },
    body: JSON.stringify({ query: text, variables })
  })
  const body = (await response.json()) as GraphqlBody<Data>
  if (body.errors !== undefined) throw errorOf(body.errors)
  return { data: body.data, freshness: body.extensions.freshness }
}

const passing = new Set(["READ_UNAVAILABLE", "VERSION_NOT_REACHED"])

const errorOf = (errors: ReadonlyArray<GraphqlError>): Error => {
  const sentence = `GraphQL answered ${JSON.stringify(errors)}`
  const isPassing = errors.every(({ extensions }) => passing.has(extensions?.code ?? ""))
  return isPassing ? new NotYet(sentence) : new Error(sentence)
}

export const downloaded = async (
  url: string | null
): Promise<{ readonly bytes: Buffer; readonly headers: Headers }> => {
  if (url === null) throw new Error("there is no link to download")
  const response = await fetch(url)
  if (!response.ok) throw new Error(`the download was answered with ${response.status}: ${await response.text()}`)
  return { bytes: Buffer.from(await response.arrayBuffer()), headers: response.headers }
}

type Metadata = Readonly<Record<string, string>>

const chunkBytes = 4 * 1024 * 1024

type Sent = Readonly<Record<string, string>>

export const upload = async (
  desk: Desk,
  token: string,
  bytes: Buffer,
  metadata: Metadata,
  headers: Sent = {}
): Promise<string> => (await uploadWithCuts(desk, token, bytes, metadata, 0, headers)).fileId

/** Cuts the connection in the middle, `count` times, and resumes each time as a browser that was reloaded would. */
export const uploadWithCuts = async (
  desk: Desk,
  token: string,
  bytes: Buffer,
  metadata: Metadata,
  count: number,
  headers: Sent = {}
) => {
  let uploadUrl: string | undefined
  let cuts = 0
  for (;;) {
    const finished = await uploadPart(
      desk,
      token,
      bytes,
      metadata,
      headers,
      uploadUrl,
      cuts < count ? (cuts + 1) / (count + 1) : 1
    )
    uploadUrl = finished.url
    if (finished.complete) return { fileId: new URL(uploadUrl).pathname.split("/").at(-1) ?? "", cuts }
    cuts++
  }
}

const uploadPart = (
  desk: Desk,
  token: string,
  bytes: Buffer,
  metadata: Metadata,
  headers: Sent,
  uploadUrl: string | undefined,
  cutAt: number
): Promise<{ readonly url: string; readonly complete: boolean }> =>
  new Promise((resolve, reject) => {
    const one = new Upload(bytes, {
      endpoint: `${desk.url.file}/files/`,
      ...(uploadUrl === undefined ? {} : { uploadUrl }),
      headers: { authorization: `Bearer ${token}`, ...headers },
      metadata: { ...metadata },
      chunkSize: chunkBytes,
      retryDelays: null,
      onError: reject,
      onSuccess: () => resolve({ url: one.url ?? "", complete: true }),
      onProgress: (sent, total) => {
        if (cutAt === 1 || total === null || sent / total < cutAt) return
        one.abort().then(() => resolve({ url: one.url ?? "", complete: false }), reject)
      }
    })
    one.start()
  })

export interface FeedEvent {
  readonly type: string
  readonly position: number
  readonly streamVersion: number
}

/** Subscribes after a position and collects until an event of this type. */
export const feedUntil = async (
  desk: Desk,
  token: string,
  variables: { readonly id: string; readonly after: number },
  last: string
): Promise<ReadonlyArray<FeedEvent>> => {
  const client = socketClient(desk, token)
  const events: Array<FeedEvent> = []
  const text =
    "subscription($id: ID!, $after: Position) { ticketChanged(id: $id, after: $after) { type position streamVersion } }"
  for await (const { data, errors } of client.iterate<{ ticketChanged: FeedEvent }>({ query: text, variables })) {
    if (errors !== undefined || data == null) throw new Error(`the feed answered ${JSON.stringify(errors)}`)
    events.push(data.ticketChanged)
    if (data.ticketChanged.type === last) break
  }
  await client.dispose()
  return events
}

/** What a subscription gives, until it gives what is waited for. */
export const subscribedUntil = async <Data>(
  desk: Desk,
  token: string,
  text: string,
  variables: Readonly<Record<string, unknown>>,
  isLast: (data: Data) => boolean
): Promise<ReadonlyArray<Data>> => {
  const client = socketClient(desk, token)
  const given: Array<Data> = []
  for await (const { data, errors } of client.iterate<Data>({ query: text, variables: { ...variables } })) {
    if (errors !== undefined || data == null) throw new Error(`the feed answered ${JSON.stringify(errors)}`)
    given.push(data)
    if (isLast(data)) break
  }
  await client.dispose()
  return given
}

export const socketClient = (desk: Desk, token: string) =>
  createClient({
    url: desk.url.realtime,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${token}` },
    retryAttempts: 0
  })
