// Which events an endpoint is sent.
import { assert, it } from "@effect/vitest"
import { fullHistory } from "@holdfast/testkit/History"
import { Redacted } from "effect"
import { wants } from "../src/Webhook.ts"

const endpoint = { id: "one", url: "https://receiver.test", secret: Redacted.make("whsec_") }
const { envelopes } = fullHistory()

it("without a list of types it is every event that a customer may see, but not what people have read", () => {
  const wanted = new Set(envelopes.filter((envelope) => wants(endpoint, envelope)).map(({ event }) => event._tag))
  for (const type of ["TicketOpened", "TicketReplied", "FileReleased"] as const) assert.isTrue(wanted.has(type))
  for (const type of ["NoteAdded", "NotificationsRead"] as const) assert.isFalse(wanted.has(type))
})

it("with a list it is those types, whoever may see them", () => {
  const named = { ...endpoint, events: ["NoteAdded", "NotificationsRead"] }
  const wanted = envelopes.filter((envelope) => wants(named, envelope)).map(({ event }) => event._tag)
  assert.deepStrictEqual(new Set<string>(wanted), new Set(named.events))
})
