// The same command is the same one however its protocol has carried it.
import { expect, it } from "@effect/vitest"
import { PrincipalId, TicketId } from "@holdfast/contracts/Ids"
import { fingerprintOf } from "../src/Idempotency.ts"

const ticketId = TicketId.make("01a20000-0000-7000-8000-000000000001")

it("the order of fields, and an empty list that another protocol leaves out, change no fingerprint", () => {
  const asked = fingerprintOf({ _tag: "ReplyToTicket", ticketId, body: "It works.", mentions: [] })
  expect(fingerprintOf({ body: "It works.", _tag: "ReplyToTicket", ticketId })).toBe(asked)
})

it("what is asked for changes it", () => {
  const asked = { _tag: "ReplyToTicket", ticketId, body: "It works." } as const
  const others = [
    { ...asked, body: "It works" },
    { ...asked, _tag: "AddNote" as const },
    { ...asked, mentions: [PrincipalId.make("ada")] },
    { ...asked, mentions: [PrincipalId.make("ada"), PrincipalId.make("kim")] },
    { ...asked, mentions: [PrincipalId.make("kim"), PrincipalId.make("ada")] }
  ]
  expect(new Set([asked, ...others].map(fingerprintOf)).size).toBe(others.length + 1)
})
