// What is kept is sent, in order, under its first id, whatever breaks: in given cases, and in random runs of keeping, sending, failing and
// crashing against a desk that knows each id.

import { describe, expect, it } from "@effect/vitest"
import { Forbidden, Unauthenticated, WriteUnavailable } from "@holdfast/contracts/CommandErrors"
import { PrincipalId, TicketId } from "@holdfast/contracts/Ids"
import { TicketAlreadyClaimed, TicketNotOpen } from "@holdfast/contracts/ticket/Refusals"
import { Schema } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import type { Client } from "../src/Client.ts"
import { Outbox as Limits } from "../src/Limits.ts"
import { type Outbox, type OutboxEvent, openOutbox } from "../src/Outbox.ts"
import { type Store, StoreUnavailable } from "../src/Store.ts"
import { type Memory, makeMemory, memoryStore } from "../src/StoreMemory.ts"
import { localDesk, quickTiming, type Received, type Way } from "./LocalDesk.ts"

const ticket = () => TicketId.make(uuidV7Unsafe())

const opened = async (client: Client, store: Store = memoryStore()): Promise<Outbox> => {
  const outbox = await openOutbox(client, store)
  if (outbox.status === "opened") return outbox.outbox
  throw outbox.error
}

/** Kept, or the test is wrong. */
const kept = async <A extends { readonly status: string }>(keeping: Promise<A>) => {
  const answer = await keeping
  if (answer.status === "kept") return answer as Extract<A, { readonly status: "kept" }>
  throw new Error(`it was not kept: ${answer.status}`)
}

const whenEmpty = (outbox: Outbox): Promise<void> =>
  new Promise((resolve) => {
    const look = () => (outbox.waiting.length === 0 ? resolve() : undefined)
    outbox.subscribe(look)
    look()
  })

const bodies = (done: ReadonlyArray<Received>) => done.map(({ body }) => body)

describe("an outbox", () => {
  it("sends what it keeps and tells how it ended", async () => {
    const desk = localDesk(() => "pass")
    const outbox = await opened(desk.client)
    const { commandId, outcome } = await kept(outbox.commands.ReplyToTicket({ ticketId: ticket(), body: "Hello." }))
    expect(await outcome).toMatchObject({ status: "accepted", commandId })
    expect(outbox.waiting).toEqual([])
    await outbox.close()
  })

  it("keeps commands while the desk is away and sends each ticket's in order once it is back", async () => {
    let isAway = true
    const desk = localDesk(() => (isAway ? "refuse" : "pass"))
    const outbox = await opened(desk.client)
    const ticketId = ticket()
    const outcomes = await Promise.all(
      ["one", "two", "three"].map((body) => kept(outbox.commands.ReplyToTicket({ ticketId, body })))
    )
    expect(outbox.waiting.length).toBe(3)
    isAway = false
    await Promise.all(outcomes.map(({ outcome }) => outcome))
    expect(bodies(desk.done)).toEqual([{ body: "one" }, { body: "two" }, { body: "three" }])
    await outbox.close()
  })

  it("reports a refusal and sends the next of the same ticket", async () => {
    const ticketId = ticket()
    const desk = localDesk(({ path }) =>
      path.endsWith("/claim") ? new TicketAlreadyClaimed({ ticketId, assigneeId: PrincipalId.make("bob") }) : "pass"
    )
    const outbox = await opened(desk.client)
    const claim = await kept(outbox.commands.ClaimTicket({ ticketId }))
    const reply = await kept(outbox.commands.ReplyToTicket({ ticketId, body: "Mine?" }))
    expect(await claim.outcome).toMatchObject({
      status: "refused",
      problem: { _tag: "TicketAlreadyClaimed", assigneeId: "bob" }
    })
    expect((await reply.outcome).status).toBe("accepted")
    await outbox.close()
  })

  it("keeps a refusal over a restart until somebody has seen it", async () => {
    const ticketId = ticket()
    const memory = makeMemory()
    const desk = localDesk(() => new TicketNotOpen({ ticketId }))
    const first = await opened(desk.client, memoryStore(memory))
    const { commandId, outcome } = await kept(first.commands.ReplyToTicket({ ticketId, body: "Too late." }))
    await outcome
    await first.close()
    const second = await opened(desk.client, memoryStore(memory))
    expect(second.rejected).toMatchObject([
      { commandId, name: "ReplyToTicket", outcome: { status: "refused", problem: { _tag: "TicketNotOpen", ticketId } } }
    ])
    expect(await second.discard(commandId)).toBe(true)
    expect(await second.discard(commandId)).toBe(false)
    await second.close()
    expect(memory.kept.size).toBe(0)
  })

  it("lets no ticket wait for another's", async () => {
    const [stuck, free] = [ticket(), ticket()]
    const held = Promise.withResolvers<void>()
    const desk = localDesk(() => "pass")
    const commands = {
      ...desk.client.commands,
      ClaimTicket: async (...args: Parameters<Client["commands"]["ClaimTicket"]>) => {
        await held.promise
        return await desk.client.commands.ClaimTicket(...args)
      }
    }
    const outbox = await opened({ ...desk.client, commands })
    const claim = await kept(outbox.commands.ClaimTicket({ ticketId: stuck }))
    const behind = await kept(outbox.commands.ReplyToTicket({ ticketId: stuck, body: "after" }))
    const other = await kept(outbox.commands.ReplyToTicket({ ticketId: free, body: "at once" }))
    await other.outcome
    expect(outbox.waiting.map(({ commandId }) => commandId)).toEqual([claim.commandId, behind.commandId])
    held.resolve()
    await behind.outcome
    await outbox.close()
  })

  it("waits for a token, for a refused one refuses nobody's command", async () => {
    let isExpired = true
    const desk = localDesk(() => (isExpired ? new Unauthenticated({ detail: "expired" }) : "pass"))
    const outbox = await opened(desk.client)
    const events: Array<OutboxEvent> = []
    outbox.subscribe((event) => {
      events.push(event)
      if (event.type === "waiting") isExpired = false
    })
    const { outcome } = await kept(outbox.commands.AddNote({ ticketId: ticket(), body: "Overnight." }))
    expect((await outcome).status).toBe("accepted")
    expect(events.map(({ type }) => type)).toEqual(["kept", "waiting", "settled"])
    await outbox.close()
  })

  it("is full in commands and in bytes, says which, and has room again", async () => {
    let isAway = true
    const desk = localDesk(() => (isAway ? "refuse" : "pass"))
    const outbox = await opened(desk.client)
    const ticketId = ticket()
    const body = "x".repeat(60_000)
    let count = 0
    while ((await outbox.commands.AddNote({ ticketId, body })).status === "kept") count++
    expect(await outbox.commands.AddNote({ ticketId, body })).toEqual({ status: "full", limit: "bytes" })
    expect(count * body.length).toBeGreaterThan(Limits.bytesMax - 2 * body.length)
    while ((await outbox.commands.AddNote({ ticketId, body: "y" })).status === "kept") count++
    expect(await outbox.commands.AddNote({ ticketId, body: "y" })).toMatchObject({ status: "full" })
    isAway = false
    await whenEmpty(outbox)
    expect((await outbox.commands.AddNote({ ticketId, body })).status).toBe("kept")
    await outbox.close()
  })

  it("tells when the store fails, and keeps nothing that it could not", async () => {
    const store: Store = {
      ...memoryStore(),
      write: () => Promise.reject(new StoreUnavailable({ reason: "failed", detail: "no space left" }))
    }
    const desk = localDesk(() => "pass")
    const outbox = await opened(desk.client, store)
    expect(await outbox.commands.AddNote({ ticketId: ticket(), body: "lost?" })).toMatchObject({
      status: "failed",
      error: { detail: "no space left" }
    })
    expect(outbox.waiting).toEqual([])
    await outbox.close()
    expect(desk.received).toEqual([])
  })

  it("gives up what the desk may have done and no longer knows, rather than do it twice", async () => {
    const timing = quickTiming()
    const memory = makeMemory()
    const desk = localDesk(() => "loseAnswer", [], timing)
    const first = await opened(desk.client, memoryStore(memory))
    await kept(first.commands.AddNote({ ticketId: ticket(), body: "Once." }))
    await new Promise<void>((resolve) => first.subscribe(({ type }) => type === "waiting" && resolve()))
    await first.close()
    await timing.sleep(Limits.repeatableForMs + 1)
    const second = await opened(localDesk(() => "pass", [], timing).client, memoryStore(memory))
    await whenEmpty(second)
    expect(second.rejected).toMatchObject([{ outcome: { status: "unknown" } }])
    await second.close()
  })

  it("sends late what was never sent, however late", async () => {
    const timing = quickTiming()
    const memory = makeMemory()
    const stored = {
      name: "AddNote",
      payload: { ticketId: ticket(), body: "Old." },
      commandId: uuidV7Unsafe(),
      keptAtMs: 0,
      sentAtMs: null
    }
    memory.kept.set("command/0000000000000001", JSON.stringify(stored))
    await timing.sleep(2 * Limits.repeatableForMs)
    const desk = localDesk(() => "pass", [], timing)
    const outbox = await opened(desk.client, memoryStore(memory))
    await whenEmpty(outbox)
    expect(bodies(desk.done)).toEqual([{ body: "Old." }])
    await outbox.close()
  })

  it("does not open with an entry that it cannot read, and leaves it there", async () => {
    const memory = makeMemory()
    memory.kept.set("command/0000000000000001", '{"name":"FromTheFuture"}')
    const answer = await openOutbox(localDesk(() => "pass").client, memoryStore(memory))
    expect(answer).toMatchObject({ status: "unavailable", error: { reason: "damaged" } })
    expect(memory).toMatchObject({ isOpen: false, kept: new Map([["command/0000000000000001", expect.anything()]]) })
  })
})

/** A store whose process dies: nothing is written from then on, and nobody is told. */
const mortal = (memory: Memory) => {
  const store = memoryStore(memory)
  let isDead = false
  return {
    store: {
      ...store,
      write: (...args: Parameters<Store["write"]>) => (isDead ? new Promise<void>(() => {}) : store.write(...args))
    },
    die: () => {
      isDead = true
      memory.isOpen = false
    }
  }
}

const Step = Schema.Union([
  Schema.Struct({ do: Schema.Literal("keep"), stream: Schema.Literals([0, 1, 2]) }),
  Schema.Struct({ do: Schema.Literal("turn"), count: Schema.Literals([1, 3, 10]) }),
  Schema.Struct({ do: Schema.Literal("crash") })
])
const Weather = Schema.Literals([
  "pass",
  "pass",
  "loseAnswer",
  "loseRequest",
  "refuse",
  "stranger",
  "unavailable",
  "refused"
])

const wayOf = (weather: typeof Weather.Type): Way => {
  if (weather === "unavailable") return new WriteUnavailable({ retryAfterMs: 100 })
  return weather === "refused" ? new Forbidden({ detail: "no" }) : weather
}

it.prop(
  "a random run of keeping, failing and crashing: each command is done once or refused, in its ticket's order, none lost",
  [Schema.Array(Step).check(Schema.isMaxLength(40)), Schema.Array(Weather).check(Schema.isMaxLength(40))],
  async ([steps, weather]) => {
    const memory = makeMemory()
    const done: Array<Received> = []
    const refused = new Set<string>()
    const streams = [ticket(), ticket(), ticket()]
    const keptIds: Array<{ readonly commandId: string; readonly stream: number }> = []
    let turn = 0
    const desk = localDesk((request) => {
      const isKnown = done.some(({ commandId }) => commandId === request.commandId)
      const way = wayOf(turn < weather.length ? (weather[turn++] ?? "pass") : "pass")
      if (typeof way === "object" && way._tag === "Forbidden") {
        // A desk that did it does not refuse it afterwards.
        if (isKnown) return "pass"
        refused.add(request.commandId)
      }
      return way
    }, done)
    let process = mortal(memory)
    let outbox = await opened(desk.client, process.store)
    for (const step of steps) {
      if (step.do === "keep") {
        const answer = await outbox.commands.AddNote({
          ticketId: streams[step.stream] ?? "",
          body: `note ${keptIds.length}`
        })
        if (answer.status === "kept") keptIds.push({ commandId: answer.commandId, stream: step.stream })
      } else if (step.do === "turn") {
        for (let count = 0; count < step.count; count++) await new Promise((resolve) => setImmediate(resolve))
      } else {
        process.die()
        process = mortal(memory)
        outbox = await opened(desk.client, process.store)
      }
    }
    await whenEmpty(outbox)
    await outbox.close()
    const doneIds = done.map(({ commandId }) => commandId)
    const arrived = new Set(doneIds)
    for (const { commandId } of keptIds) expect(arrived.has(commandId) || refused.has(commandId)).toBe(true)
    expect(arrived.size).toBe(doneIds.length)
    streams.forEach((_, stream) => {
      const order = keptIds.filter((one) => one.stream === stream && arrived.has(one.commandId))
      const inOrder = new Set(order.map(({ commandId }) => commandId))
      expect(doneIds.filter((id) => inOrder.has(id))).toEqual(order.map(({ commandId }) => commandId))
    })
  },
  { arbitrary: { runs: 150 } }
)
