// A whole desk on servers of its own, and people who use it all the time: writers with a ledger of what each was told, readers of hot
// tickets, two open feeds, and somebody who uploads. A test breaks PostgreSQL under them and then asks whether every promise was kept.
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { Cache } from "@holdfast/cache/Cache"
import * as CacheRedis from "@holdfast/cache/CacheRedis"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { ticketKey } from "@holdfast/domain/ticket/CachedTicket"
import { issueToken } from "@holdfast/identity/Tokens"
import { Health } from "@holdfast/resilience/Health"
import type { ServerProcess } from "@holdfast/scripts/ServerProcess"
import { type Stack, serverVariables, startStack } from "@holdfast/scripts/Stack"
import { type FaultProxy, faultProxy } from "@holdfast/testkit/Faults"
import { Duration, Effect, Exit, Layer, Redacted, Schedule, Scope } from "effect"
import { expect } from "vitest"
import { upload } from "../../flows/Clients.ts"
import { type Desk, startDesk } from "../../flows/Desk.ts"
import { type Feed, openFeed } from "./Feed.ts"
import { Ledger } from "./Ledger.ts"
import { type Truth, truthAt } from "./Truth.ts"
import { type VirtualAddress, virtualAddress } from "./VirtualAddress.ts"

const writersCount = 3
const readersCount = 2
const writePauseMs = 60
const readPauseMs = 40
const uploadPauseMs = 500

export interface Read {
  readonly atMs: number
  readonly lastedMs: number
  /** Null: not answered. */
  readonly source: string | null
}

/** Each with a budget of commands and a ticket of its own. */
interface Writer {
  readonly token: string
  readonly ticket: string
}

export interface World {
  readonly desk: Desk
  readonly postgres: ServerProcess
  readonly line: FaultProxy
  readonly address: VirtualAddress
  readonly truth: Truth
  readonly ledger: Ledger
  readonly reads: ReadonlyArray<Read>
  readonly feeds: ReadonlyArray<Feed>
  readonly uploads: ReadonlyArray<string>
  readonly failedUploads: ReadonlyArray<unknown>
  readonly stop: () => Promise<void>
}

/** Whatever of it is running ends again when the rest cannot start. */
export const startWorld = async (): Promise<World> => {
  const ends: Array<() => Promise<unknown>> = []
  const stop = async () => {
    for (const end of ends.splice(0).reverse()) await end()
  }
  try {
    return { ...(await startParts((end) => void ends.push(end))), stop }
  } catch (cause) {
    await stop()
    throw cause
  }
}

const startParts = async (whenOver: (end: () => Promise<unknown>) => void) => {
  const stack = await startStack({ only: ["postgres", "rabbitmq", "redis"] })
  whenOver(stack.stop)
  const postgres = serverOf(stack, "postgres")
  const scope = Scope.makeUnsafe()
  whenOver(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const line = await Effect.runPromise(
    Scope.provide(faultProxy({ host: "127.0.0.1", port: postgres.plan.port }), scope)
  )
  const address = await virtualAddress(line.port)
  whenOver(address.stop)
  const desk = await startDesk("servers", { environment: serversOf(stack, address) })
  whenOver(desk.stop)
  const agent = await tokenOf(desk, "ada")
  const ledger = new Ledger(desk, agent)
  const writers = await Promise.all(Array.from({ length: writersCount }, (_, index) => newWriter(desk, ledger, index)))
  const truth = truthAt(postgres.plan.url)
  await ledger.visible(writers.map(({ ticket }) => ticket))
  await cached(stack, writers)
  const { stop, ...load } = await startLoad(desk, agent, ledger, writers, truth)
  whenOver(stop)
  return { desk, postgres, line, address, truth, ledger, ...load }
}

const serversOf = ({ environment }: Stack, { port }: VirtualAddress) => ({
  HOLDFAST_DATABASE_URL: `postgres://postgres@127.0.0.1:${port}/postgres`,
  HOLDFAST_RABBITMQ_URL: environment[serverVariables.rabbitmq] ?? "",
  HOLDFAST_REDIS_URL: environment[serverVariables.redis] ?? ""
})

/** By the desk's own key, without a process for each. */
const tokenOf = async (desk: Desk, id: string): Promise<string> => {
  const directory = join(desk.dataDir, "keys")
  const principal = { id: PrincipalId.make(id), role: "agent" } as const
  const claims = { directory, principal, issuer: "holdfast", audience: "holdfast", lifetime: Duration.hours(1) }
  return Redacted.value(await Effect.runPromise(issueToken(claims)))
}

const newWriter = async (desk: Desk, ledger: Ledger, index: number): Promise<Writer> => {
  const token = await tokenOf(desk, `writer-${index}`)
  return { token, ticket: await ledger.openTicket(token) }
}

const serverOf = (stack: Stack, name: string): ServerProcess => {
  const server = stack.servers.get(name)
  if (server === undefined) throw new Error(`the stack has no ${name}`)
  return server
}

/** Until the cache can answer for what is read while PostgreSQL is away. */
const cached = (stack: Stack, writers: ReadonlyArray<Writer>): Promise<unknown> => {
  const url = Redacted.make(stack.environment[serverVariables.redis] ?? "")
  const isReady = Effect.gen(function* () {
    const cache = yield* Cache
    const documents = yield* cache.getMany(writers.map(({ ticket }) => ticketKey(ticket)))
    return (yield* cache.progress) !== null && documents.every((document) => document !== null)
  })
  return isReady.pipe(
    Effect.orElseSucceed(() => false),
    Effect.repeat({ until: (isSo) => isSo, schedule: Schedule.spaced("50 millis") }),
    Effect.provide(Layer.provide(CacheRedis.layer({ url }), Health.layer)),
    Effect.runPromise
  )
}

const startLoad = async (desk: Desk, agent: string, ledger: Ledger, writers: ReadonlyArray<Writer>, truth: Truth) => {
  const reads: Array<Read> = []
  const uploads: Array<string> = []
  const failedUploads: Array<unknown> = []
  let running = true
  const [at] = await truth.ask<{ p: number }>("SELECT last_position::int AS p FROM core.relay_state")
  const feeds = await Promise.all([
    openFeed(desk, agent, { _tag: "Ticket", id: writers[0]?.ticket ?? "" }, at?.p ?? 0),
    openFeed(desk, agent, { _tag: "List" }, at?.p ?? 0)
  ])
  const forever = async (step: () => Promise<unknown>, pauseMs: number) => {
    while (running) {
      await step()
      await pause(pauseMs)
    }
  }
  const write = ({ ticket, token }: Writer, turn: number) =>
    turn % 4 === 0 ? ledger.openTicket(token) : ledger.reply(token, ticket)
  const sendFile = (turn: number) =>
    upload(desk, agent, Buffer.from(`file ${turn}`), { filename: `${turn}.txt`, filetype: "text/plain" }).then(
      (id) => uploads.push(id),
      (cause: unknown) => failedUploads.push(cause)
    )
  const people = [
    ...writers.map((writer) => counted((turn) => forever(() => write(writer, turn()), writePauseMs))),
    ...Array.from({ length: readersCount }, (_, index) =>
      forever(async () => reads.push(await ledger.read(writers[index]?.ticket ?? "")), readPauseMs)
    ),
    counted((turn) => forever(() => ledger.unlessHeld(() => sendFile(turn())), uploadPauseMs))
  ]
  const stop = async () => {
    running = false
    await Promise.all(people)
    for (const feed of feeds) feed.close()
  }
  return { reads, feeds, uploads, failedUploads, stop }
}

const counted = <A>(use: (next: () => number) => A): A => {
  let turn = 0
  return use(() => turn++)
}

/** Every promise, once PostgreSQL is back: nothing acknowledged is lost, nothing is there twice, views and feeds are exact. */
export const assertPromisesKept = async (world: World): Promise<void> => {
  world.ledger.hold()
  try {
    await world.ledger.quiet()
    await assertAllKept(world)
  } finally {
    world.ledger.goOn()
  }
}

const assertAllKept = async (world: World): Promise<void> => {
  const { feeds, ledger, truth } = world
  expect(ledger.untypedAnswers()).toEqual([])
  expect(await ledger.doneAlthoughRefused(truth)).toEqual([])
  await ledger.resolve()
  expect(await ledger.notExactlyOnce(truth)).toEqual([])
  await eventuallyEqual(() => filesNotRegistered(world), [])
  await eventuallyEqual(() => disagreements(truth), [{ unpositioned: 0, gaps: 0, views: 0, messages: 0, numbers: 0 }])
  for (const feed of feeds) await eventuallyEqual(async () => feed.positions(), await feed.expected(truth))
  expect(feeds.map(({ cuts }) => cuts())).toEqual(feeds.map(() => 0))
  expect(world.failedUploads).toEqual([])
  expect(world.reads.filter(({ source }) => source === null)).toEqual([])
}

const eventuallyEqual = (ask: () => Promise<unknown>, wanted: unknown) =>
  expect.poll(ask, { timeout: 120_000, interval: 50 }).toEqual(wanted)

const filesNotRegistered = async ({ truth, uploads }: World): Promise<ReadonlyArray<string>> => {
  const rows = await truth.ask<{ id: string }>(
    "SELECT stream_id AS id FROM core.event_log WHERE type = 'FileReceived' AND stream_id = ANY($1::uuid[])",
    [[...uploads]]
  )
  const registered = rows.map(({ id }) => id)
  return uploads.filter((id) => registered.filter((one) => one === id).length !== 1)
}

/** Between the log, its positions and the views. */
const disagreements = (truth: Truth) =>
  truth.ask(`
    SELECT
      (SELECT count(*)::int FROM core.event_log WHERE position IS NULL) AS unpositioned,
      (SELECT (coalesce(max(position), 0) - count(position))::int FROM core.event_log) AS gaps,
      (SELECT count(*)::int FROM core.aggregate a LEFT JOIN read.ticket t ON t.id = a.stream_id
        WHERE a.stream_type = 'ticket' AND t.version IS DISTINCT FROM a.version) AS views,
      (SELECT abs((SELECT count(*) FROM core.event_log WHERE type IN ('TicketOpened', 'TicketReplied'))
        - (SELECT count(*) FROM read.message)))::int AS messages,
      (SELECT (count(*) - count(DISTINCT number))::int FROM read.ticket) AS numbers`)
