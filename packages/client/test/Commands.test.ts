// What becomes of a command whatever the line does: told truly, repeated under one id, and never once it was refused.

import { describe, expect, it } from "@effect/vitest"
import {
  CommandInProgress,
  Forbidden,
  OutcomeUnknown,
  Overloaded,
  Unauthenticated,
  WriteUnavailable
} from "@holdfast/contracts/CommandErrors"
import { CommandId, PrincipalId, TicketId } from "@holdfast/contracts/Ids"
import { TicketAlreadyClaimed } from "@holdfast/contracts/ticket/Refusals"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import { RetryBudget } from "../src/Backoff.ts"
import { Requests } from "../src/Limits.ts"
import { localDesk, quickTiming, type Way } from "./LocalDesk.ts"

const opening = { subject: "Printer on fire", body: "Third floor." }
const ticketId = TicketId.make(uuidV7Unsafe())
const inTurn =
  (...ways: ReadonlyArray<Way>) =>
  (_: unknown, count: number): Way =>
    ways[Math.min(count, ways.length - 1)] ?? "pass"

/** Counted by attempts rather than arrivals. */
const attempts = (...ways: ReadonlyArray<Way>) => {
  let count = 0
  return (): Way => ways[Math.min(count++, ways.length - 1)] ?? "pass"
}

describe("a command", () => {
  it("is accepted, with what the next one needs", async () => {
    const desk = localDesk(() => "pass")
    const outcome = await desk.client.commands.OpenTicket(opening)
    expect(outcome).toMatchObject({ status: "accepted", version: 1, number: 7, replayed: false })
    expect(desk.received[0]).toMatchObject({ path: "/v1/tickets", body: opening })
    expect(desk.received[0]?.headers.get("authorization")).toBe("Bearer token-1")
  })

  it("puts what stands in the path there, and the expected version where REST has it", async () => {
    const desk = localDesk(() => "pass")
    await desk.client.commands.ReplyToTicket({ ticketId, body: "On my way." }, { expectedVersion: 3 })
    expect(desk.received[0]).toMatchObject({ path: `/v1/tickets/${ticketId}/replies`, body: { body: "On my way." } })
    expect(desk.received[0]?.headers.get("if-match")).toBe('"3"')
  })

  it("that is not valid is refused before it is sent, with every fault named", async () => {
    const desk = localDesk(() => "pass")
    const outcome = await desk.client.commands.OpenTicket({ subject: "", body: "" })
    expect(outcome).toMatchObject({
      status: "refused",
      problem: { _tag: "ValidationFailed", issues: [{ path: "subject" }, { path: "subject" }, { path: "body" }] }
    })
    expect(desk.received).toEqual([])
  })

  it("is refused with the desk's own reason, and not sent again", async () => {
    const assigneeId = PrincipalId.make("ada")
    const desk = localDesk(() => new TicketAlreadyClaimed({ ticketId, assigneeId }))
    const outcome = await desk.client.commands.ClaimTicket({ ticketId })
    expect(outcome.status === "refused" && outcome.problem).toMatchObject({ _tag: "TicketAlreadyClaimed", assigneeId })
    expect(desk.received.length).toBe(1)
  })

  it.each([
    ["a lost answer", "loseAnswer"],
    ["a lost request", "loseRequest"],
    ["nobody listening", "refuse"],
    ["somebody else's answer", "stranger"],
    ["a desk that cannot write", new WriteUnavailable({ retryAfterMs: 300 })],
    ["a full desk", new Overloaded({ retryAfterMs: 300 })],
    ["an answer that nobody knows", new OutcomeUnknown({ commandId: CommandId.make(ticketId), retryAfterMs: 0 })],
    ["a command under way", new CommandInProgress({ commandId: CommandId.make(ticketId), retryAfterMs: 0 })]
  ] satisfies ReadonlyArray<readonly [string, Way]>)(
    "is repeated under its id after %s, and done once",
    async (_, way) => {
      const desk = localDesk(attempts(way, way, "pass"))
      const outcome = await desk.client.commands.OpenTicket(opening)
      expect(outcome.status).toBe("accepted")
      expect(desk.done.length).toBe(1)
      expect(new Set(desk.received.map(({ commandId }) => commandId)).size).toBe(1)
    }
  )

  it("tells by `replayed` that a lost answer had done it", async () => {
    const desk = localDesk(inTurn("loseAnswer", "pass"))
    expect(await desk.client.commands.OpenTicket(opening)).toMatchObject({ status: "accepted", replayed: true })
  })

  it("waits as long as the desk advises", async () => {
    const desk = localDesk(inTurn(new WriteUnavailable({ retryAfterMs: 4_000 }), "pass"))
    await desk.client.commands.OpenTicket(opening)
    expect(desk.waits[0]).toBeGreaterThanOrEqual(4_000)
  })

  it("is unknown when its deadline passes and a request may have arrived", async () => {
    const desk = localDesk(attempts("loseAnswer", new WriteUnavailable({ retryAfterMs: 0 })))
    expect((await desk.client.commands.OpenTicket(opening, { deadlineMs: 3_000 })).status).toBe("unknown")
  })

  it("is certainly not done when every request was turned away", async () => {
    const desk = localDesk(attempts("refuse", new WriteUnavailable({ retryAfterMs: 0 }), "refuse"))
    expect((await desk.client.commands.OpenTicket(opening, { deadlineMs: 3_000 })).status).toBe("unavailable")
    expect(desk.done).toEqual([])
  })

  it("asks for another token when the desk refuses the first, and tells when it refuses both", async () => {
    const refused = new Unauthenticated({ detail: "expired" })
    const desk = localDesk(inTurn(refused, "pass"))
    expect((await desk.client.commands.OpenTicket(opening)).status).toBe("accepted")
    expect(desk.tokens).toEqual([{ refused: false }, { refused: true }])
    const never = await localDesk(() => refused).client.commands.OpenTicket(opening)
    expect(never).toMatchObject({ status: "refused", problem: { _tag: "Unauthenticated" } })
  })

  it("stops when it is cancelled, and tells what is known", async () => {
    const controller = new AbortController()
    const desk = localDesk(() => {
      controller.abort()
      return "refuse"
    })
    const outcome = await desk.client.commands.OpenTicket(opening, { signal: controller.signal })
    expect(["unavailable", "unknown"]).toContain(outcome.status)
    expect(desk.done).toEqual([])
  })

  it("of another kind is refused for what it is", async () => {
    const desk = localDesk(() => new Forbidden({ detail: "agents only" }))
    expect(await desk.client.send("AddNote", { ticketId, body: "Mine." })).toMatchObject({
      status: "refused",
      problem: { _tag: "Forbidden", detail: "agents only" }
    })
  })
})

describe("the retry budget", () => {
  it("adds a bounded load however many callers meet an outage at once", async () => {
    const seconds = 20
    let attempts = 0
    const { client } = localDesk(() => {
      attempts++
      return "refuse"
    })
    const deadlineMs = seconds * 1000
    await Promise.all(Array.from({ length: 100 }, () => client.commands.OpenTicket(opening, { deadlineMs })))
    const { retriesBurstMax, retriesPerRequest, retriesPerSecond } = Requests
    expect(attempts - 100).toBeGreaterThan(0)
    expect(attempts - 100).toBeLessThanOrEqual(retriesBurstMax + 100 * retriesPerRequest + seconds * retriesPerSecond)
  })

  it("gives nothing to who cannot wait for it, and takes nothing from who comes next", () => {
    const budget = new RetryBudget(quickTiming())
    for (let spent = 0; spent < Requests.retriesBurstMax; spent++) expect(budget.spend(0)).toBe(0)
    expect(budget.spend(100)).toBeNull()
    expect(budget.spend(1_000)).toBe(1_000)
  })
})
