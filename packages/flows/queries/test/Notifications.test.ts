// What somebody was told of, as a query answers it: their own and what they may read, by pages, and a typed refusal while the read database
// is away.
import { PrincipalId } from "@holdfast/contracts/Ids"
import { History, principal } from "@holdfast/testkit/History"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { startDesk } from "./Desk.ts"

const ada = principal("agent", "ada", "Ada")
const carl = principal("customer", "carl", "Carl")
const dora = principal("customer", "dora", "Dora")

const history = new History()
const ticketId = history.open(carl, "Printer")
history.issue(ada, { _tag: "ClaimTicket", ticketId })
for (const body of ["one", "two", "three"]) history.issue(ada, { _tag: "ReplyToTicket", ticketId, body })
history.issue(ada, { _tag: "AddNote", ticketId, body: "a secret", mentions: [PrincipalId.make("carl")] })
history.issue(carl, { _tag: "ReplyToTicket", ticketId, body: "four" })

let desk: Awaited<ReturnType<typeof startDesk>>
beforeAll(async () => {
  desk = await startDesk(history.envelopes)
})
afterAll(() => desk.stop())

const query = `query ($first: Int, $after: String, $unreadOnly: Boolean = false) {
  notifications(first: $first, after: $after, unreadOnly: $unreadOnly) {
    unreadCount nodes { eventId position kind actor { id name email } occurredAt readAt ticketId fileId ticket { subject } }
    pageInfo { hasNextPage hasPreviousPage endCursor }
  }
}`

describe("notifications", () => {
  it("are one's own, with the ticket that they are about; a note that names a customer is none", async () => {
    const { data, errors, extensions } = await desk.ask(carl, query)
    expect(errors).toBeUndefined()
    expect(data.notifications.nodes).toHaveLength(3)
    for (const node of data.notifications.nodes) {
      expect(node).toMatchObject({ kind: "replied", ticketId, fileId: null, ticket: { subject: "Printer" } })
      expect(node.actor).toEqual({ id: "ada", name: "Ada", email: null })
    }
    expect(extensions.freshness.source).toBe("live")
    const agent = await desk.ask(ada, query)
    expect(agent.data.notifications.nodes).toMatchObject([
      { kind: "replied", actor: { id: "carl", email: expect.any(String) } }
    ])
    expect((await desk.ask(dora, query)).data.notifications).toMatchObject({ nodes: [], unreadCount: 0 })
  })

  it("come by pages, newest first, and unread alone", async () => {
    const first = (await desk.ask(carl, query, { first: 2 })).data.notifications
    expect(first.pageInfo).toMatchObject({ hasNextPage: true, hasPreviousPage: false })
    const rest = (await desk.ask(carl, query, { first: 2, after: first.pageInfo.endCursor })).data.notifications
    expect(rest.pageInfo).toMatchObject({ hasNextPage: false, hasPreviousPage: true })
    const positions = [...first.nodes, ...rest.nodes].map(({ position }) => position)
    expect(positions).toEqual([...positions].sort((a, b) => b - a))
    const unread = (await desk.ask(carl, query, { unreadOnly: true })).data.notifications
    expect(unread.nodes.map((node: { readAt: unknown }) => node.readAt)).toEqual(unread.nodes.map(() => null))
    expect(unread.unreadCount).toBe(unread.nodes.length)
    expect(first.unreadCount).toBe(unread.unreadCount)
  })

  it.each([
    [{ first: 101 }, "first"],
    [{ after: "t:1:x" }, "after"],
    [{ after: Buffer.from("n:x").toString("base64url") }, "after"]
  ])("refuse %o", async (variables, named) => {
    const { errors } = await desk.ask(carl, query, variables)
    expect(errors[0]).toMatchObject({ message: expect.stringContaining(named), extensions: { code: "BAD_USER_INPUT" } })
  })

  it("say so, typed, while the read database is away", async () => {
    desk.outage.database = true
    const { data, errors } = await desk.ask(carl, query)
    desk.outage.database = false
    expect(data.notifications).toBeNull()
    expect(errors).toMatchObject([{ extensions: { code: "READ_UNAVAILABLE" } }])
  })
})
