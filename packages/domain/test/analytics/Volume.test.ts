// What each event adds to its hour.
import { expect, it } from "@effect/vitest"
import { History, principal } from "@holdfast/testkit/History"
import { fold } from "@holdfast/testkit/ViewSync"
import { DateTime } from "effect"
import { type VolumeDelta, volumeOf } from "../../src/analytics/Volume.ts"
import { applyTicket } from "../../src/ticket/TicketView.ts"
import { pastOf, Steps, streamsOf } from "../Pasts.ts"

const ada = principal("agent", "ada")
const carol = principal("customer", "carol")
const sum = (deltas: ReadonlyArray<VolumeDelta | null>) => {
  const of = (key: "opened" | "solved" | "replies") => deltas.reduce((total, delta) => total + (delta?.[key] ?? 0), 0)
  return { opened: of("opened"), solved: of("solved"), replies: of("replies") }
}

it("opened, replied and solved count once each; notes, files and other statuses do not", () => {
  const history = new History()
  const ticketId = history.open(carol, "The printer is on fire")
  history.issue(ada, { _tag: "AddNote", ticketId, body: "again" })
  history.issue(ada, { _tag: "ReplyToTicket", ticketId, body: "Water?" })
  history.issue(ada, { _tag: "ChangeTicketStatus", ticketId, status: "pending" })
  history.issue(ada, { _tag: "ChangeTicketStatus", ticketId, status: "solved" })
  history.upload(carol, "fire.png")
  expect(sum(history.envelopes.map(volumeOf))).toEqual({ opened: 1, solved: 1, replies: 1 })
})

it("belongs to the hour in which it happened, to the millisecond", () => {
  const hourOf = (time: string) => {
    const history = new History(Date.parse(time) - 1000)
    history.open(carol, "No network")
    const [delta] = history.envelopes.map(volumeOf)
    return delta === undefined || delta === null ? null : DateTime.formatIso(delta.hour)
  }
  expect(hourOf("2026-03-29T00:59:59.999Z")).toBe("2026-03-29T00:00:00.000Z")
  expect(hourOf("2026-03-29T01:00:00.000Z")).toBe("2026-03-29T01:00:00.000Z")
})

it.prop(
  "over any past: as many opened as there are tickets, and as many replies as conversations show",
  [Steps],
  ([steps]) => {
    const past = pastOf(steps)
    const views = streamsOf(past, "ticket").map((events) => fold(applyTicket, events))
    const total = sum(past.map(volumeOf))
    expect(total.opened).toBe(views.length)
    expect(total.replies).toBe(views.reduce((count, view) => count + (view?.publicMessageCount ?? 0) - 1, 0))
  },
  { arbitrary: { runs: 30 } }
)
