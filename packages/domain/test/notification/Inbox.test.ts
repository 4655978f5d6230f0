// What somebody has read: accepted, repeated, and by whom.
import { describe, expect, it } from "@effect/vitest"
import { CommandId, EventId, Position } from "@holdfast/contracts/Ids"
import type { InboxCommand } from "@holdfast/contracts/notification/Commands"
import { principal, uuid } from "@holdfast/testkit/History"
import { Result, Schema } from "effect"
import { evolveAll } from "../../src/Decider.ts"
import { inboxIdOf } from "../../src/DerivedId.ts"
import { type Inbox, InboxDecider } from "../../src/notification/Inbox.ts"

const carol = principal("customer", "carol")
const context = { principal: carol, commandId: CommandId.make(uuid(1)), number: 0 }
const eventId = (n: number) => EventId.make(uuid(n))
const upTo = (position: number): InboxCommand => ({ _tag: "ReadNotifications", upTo: Position.make(position) })
const these = (...ids: ReadonlyArray<number>): InboxCommand => ({
  _tag: "ReadNotifications",
  eventIds: ids.map(eventId)
})

const decide = (state: Inbox | null, command: InboxCommand) =>
  Result.getOrThrow(InboxDecider.decide(state, command, context))
const after = (...commands: ReadonlyArray<InboxCommand>): Inbox | null =>
  commands.reduce<Inbox | null>((state, command) => evolveAll(InboxDecider, state, decide(state, command)), null)

describe("ReadNotifications", () => {
  it("is accepted by position and one by one, for whoever says it", () => {
    expect(decide(null, upTo(7))).toEqual([{ _tag: "NotificationsRead", principalId: "carol", upTo: 7 }])
    expect(decide(null, these(1, 2, 1))).toEqual([
      { _tag: "NotificationsRead", principalId: "carol", eventIds: [eventId(1), eventId(2)] }
    ])
  })

  it("says nothing again", () => {
    expect(decide(after(upTo(7)), upTo(7))).toEqual([])
    expect(decide(after(these(1, 2)), these(2, 1))).toEqual([])
    expect(decide(null, { _tag: "ReadNotifications" })).toEqual([])
  })

  it("says only what is new", () => {
    expect(decide(after(these(1)), { ...upTo(7), ...these(1, 3) })).toEqual([
      { _tag: "NotificationsRead", principalId: "carol", upTo: 7, eventIds: [eventId(3)] }
    ])
  })

  it("goes on from a position that was told too far ahead", () => {
    expect(decide(after(upTo(1_000_000)), upTo(8))).toHaveLength(1)
  })

  it.prop("repeated is never news, and what is remembered is bounded", [Schema.Array(Schema.Int)], ([ids]) => {
    const command = these(...ids.slice(0, 200).map((id) => Math.abs(id) % 1_000))
    const state = after(command)
    expect(decide(state, command)).toEqual([])
    expect(state?.readEventIds.length ?? 0).toBeLessThanOrEqual(500)
  })
})

describe("an inbox", () => {
  it("is one stream per person, found without being looked up", () => {
    expect(inboxIdOf(carol.id)).toBe(inboxIdOf(carol.id))
    expect(inboxIdOf(carol.id)).not.toBe(inboxIdOf(principal("customer", "dora").id))
    expect(inboxIdOf(carol.id)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })
})
