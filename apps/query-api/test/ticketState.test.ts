// A ticket as it is shown: the snapshot and the changes after it give the same as a later snapshot, however they overlap.
import { describe, expect, it } from "vitest"
import {
  fileWords,
  isUnderWay,
  type Ticket,
  type TicketChange,
  ticketAfter,
  ticketAfterFile
} from "../src/page/ticketState.js"

const ada = { id: "ada", name: "Ada" }
const carla = { id: "carla", name: "Carla" }
const opened: Ticket = {
  ...{ id: "t", number: 1, subject: "Fire", status: "new", priority: "normal", requester: carla, assignee: null },
  ...{ openedAt: "0", updatedAt: "0", position: 10, attachments: [] },
  messages: [{ id: "m0", audience: "public", author: carla, body: "Help", sentAt: "0" }]
}
const change = (position: number, type: string, more: Partial<TicketChange> = {}): TicketChange => ({
  ...{ position, type, occurredAt: String(position), actor: ada, status: "open", assigneeId: null, audience: "public" },
  ...{ messageId: null, body: null, fileId: null, fileName: null, reason: null },
  ...more
})
const reply = change(11, "TicketReplied", { messageId: "m1", body: "Coming" })
const attached = change(12, "FileAttached", { fileId: "f", fileName: "a.png" })

describe("a change of the ticket", () => {
  it("is shown once, however often it is told", () => {
    const once = ticketAfter(opened, reply)
    expect(once.messages.map(({ body }) => body)).toEqual(["Help", "Coming"])
    expect(ticketAfter(once, reply)).toEqual(once)
    const read = { ...once, position: 10 }
    expect(ticketAfter(read, reply).messages).toHaveLength(2)
  })

  it("that the snapshot holds already changes nothing", () => {
    expect(ticketAfter({ ...opened, position: 11 }, reply)).toEqual({ ...opened, position: 11 })
  })

  it("tells status and assignee, with the name where it is known", () => {
    const claimed = ticketAfter(opened, change(11, "TicketAssigned", { assigneeId: "ada" }))
    expect(claimed).toMatchObject({ status: "open", assignee: ada, updatedAt: "11" })
    const given = ticketAfter(claimed, change(12, "TicketAssigned", { assigneeId: "kim" }))
    expect(given.assignee).toEqual({ id: "kim", name: null })
    expect(ticketAfter(given, change(13, "TicketReplied", { assigneeId: null })).assignee).toBeNull()
  })

  it("attaches a file once, and says why it was withdrawn", () => {
    const one = ticketAfter(ticketAfter(opened, attached), { ...attached, position: 13 })
    expect(one.attachments).toHaveLength(1)
    const gone = ticketAfter(one, change(14, "AttachmentWithdrawn", { fileId: "f", reason: "malware" }))
    expect(gone.attachments.map(fileWords)).toEqual(["withdrawn: malware"])
    expect(gone.attachments.some(isUnderWay)).toBe(false)
  })
})

describe("a file", () => {
  it("is told on its way, and is followed until it is through", () => {
    const told = (state: string, reason: string | null = null) => {
      const progress = { position: 13, type: "", fileId: "f", state, stage: null, reason, detail: "EICAR was found" }
      return ticketAfterFile(ticketAfter(opened, attached), progress).attachments[0] ?? expect.unreachable()
    }
    expect(fileWords(ticketAfter(opened, attached).attachments[0] ?? expect.unreachable())).toMatch(/^uploaded/)
    expect(isUnderWay(told("scanned"))).toBe(true)
    expect(isUnderWay(told("parked"))).toBe(true)
    expect(fileWords(told("released"))).toBe("released")
    expect(isUnderWay(told("released"))).toBe(false)
    expect(fileWords(told("rejected", "malware"))).toBe("rejected: EICAR was found")
  })
})
