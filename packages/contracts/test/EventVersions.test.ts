// Old events are raised step by step and then decoded; what cannot be raised is a typed failure.
import { describe, expect, it } from "@effect/vitest"
import { Result } from "effect"
import { eventVersions, makeEventVersions, type Upcaster } from "../src/EventVersions.ts"

const ticketId = "019a0000-0000-7000-8000-000000000001"
// As if an assignment had once named its agent `agent`, then `agentId`.
const once: ReadonlyArray<Upcaster> = [
  { type: "TicketAssigned", from: 1, raise: ({ agent, ...rest }) => ({ ...rest, agentId: agent }) },
  { type: "TicketAssigned", from: 2, raise: ({ agentId, ...rest }) => ({ ...rest, assigneeId: agentId }) }
]
const tagOf = <A, E extends { readonly _tag: string }>(result: Result.Result<A, E>) =>
  Result.isFailure(result) ? result.failure._tag : "readable"

describe("upcasters", () => {
  const versions = makeEventVersions(once)

  it.each([
    [1, { ticketId, agent: "ada" }],
    [2, { ticketId, agentId: "ada" }],
    [3, { ticketId, assigneeId: "ada" }]
  ])("version %i becomes the current event", (version, data) => {
    expect(Result.getOrThrow(versions.decode("TicketAssigned", version, data))).toEqual({
      _tag: "TicketAssigned",
      ticketId,
      assigneeId: "ada"
    })
  })

  it("new events are written with the newest version, other events with their own", () => {
    expect(versions.currentVersion("TicketAssigned")).toBe(3)
    expect(versions.currentVersion("TicketReplied")).toBe(1)
  })

  it.each([0, 4, -1])("version %i is a typed failure", (version) => {
    expect(tagOf(versions.decode("TicketAssigned", version, { ticketId, assigneeId: "ada" }))).toBe("EventUnreadable")
  })

  it("a gap in the chain is a typed failure", () => {
    const gap = makeEventVersions([...once.slice(1)].map((upcaster) => ({ ...upcaster, from: 3 })))
    expect(tagOf(gap.decode("TicketAssigned", 1, { ticketId, agent: "ada" }))).toBe("EventUnreadable")
  })
})

it("an event's own tag in the data cannot make it another event", () => {
  const data = { _tag: "TicketReplied", ticketId, assigneeId: "ada" }
  expect(Result.getOrThrow(eventVersions.decode("TicketAssigned", 1, data))._tag).toBe("TicketAssigned")
})
