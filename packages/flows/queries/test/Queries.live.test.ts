// The questions on a real read database: the same answers as from the cache, in one statement each.
import { fullHistory, History, principal } from "@holdfast/testkit/History"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { type LiveDesk, liveDesk } from "./LiveDesk.ts"
import { sharedFiles, sharedFilesQuery } from "./SharedFiles.ts"

const ada = principal("agent", "ada", "Ada")
const carl = principal("customer", "carl", "Carl")
const mallory = principal("customer", "mallory")
const history = fullHistory()
const ticketId = history.envelopes[0]?.streamId ?? ""

const onDesk = <A>(work: (desk: LiveDesk) => Effect.Effect<A>, past: History = history) =>
  Effect.runPromise(Effect.scoped(Effect.flatMap(Effect.orDie(liveDesk(past.envelopes)), work)))

const everything = `query ($id: ID!) {
  ticket(id: $id) {
    number subject status assignee { id name email } requester { id name } messageCount updatedAt
    conversation(first: 2) { edges { cursor node { audience body author { name } } } pageInfo { hasNextPage endCursor } }
    attachments { name file { state } }
  }
  all: tickets(list: all) { totalCount nodes { number } }
  mine: tickets(list: mine) { nodes { number } }
  unassigned: tickets(list: unassigned) { nodes { number } }
  solved: tickets(list: solved) { nodes { number } }
}`

describe("the read database", () => {
  it("gives the same answers as the cache, to everyone", async () => {
    const pairs = await onDesk((desk) =>
      Effect.gen(function* () {
        const live = yield* Effect.forEach([ada, carl, mallory, principal("agent", "bob")], (viewer) =>
          desk.askLive(viewer, everything, { id: ticketId })
        )
        yield* desk.database.set({ _tag: "Refuse" })
        const cached = yield* Effect.forEach([ada, carl, mallory, principal("agent", "bob")], (viewer) =>
          desk.ask(viewer, everything, { id: ticketId })
        )
        return live.map((one, index) => ({ live: one, cached: cached[index] }))
      })
    )
    for (const { cached, live } of pairs) {
      expect(live.errors).toBeUndefined()
      expect(live.extensions?.freshness?.source).toBe("live")
      expect(cached?.extensions?.freshness?.source).toBe("cached")
      expect(cached?.data).toEqual(live.data)
    }
  })

  it("lets a customer open what staff show them and nothing that staff keep, live and then cached", async () => {
    const { past, variables } = sharedFiles()
    const told = await onDesk(
      (desk) =>
        Effect.gen(function* () {
          const live = yield* Effect.forEach([carl, mallory], (one) => desk.ask(one, sharedFilesQuery, variables))
          yield* desk.database.set({ _tag: "Refuse" })
          const cached = yield* Effect.forEach([carl, mallory], (one) => desk.ask(one, sharedFilesQuery, variables))
          return { live, cached }
        }),
      past
    )
    const released = { state: "released", downloadUrl: null }
    const forCarl = {
      invoice: released,
      memo: null,
      tickets: {
        nodes: [
          { attachments: [{ name: "guessed.png", file: null }] },
          { attachments: [{ name: "invoice.png", file: released }] }
        ]
      }
    }
    const expected = [forCarl, { invoice: null, memo: null, tickets: { nodes: [] } }]
    expect(told.live.map(({ data }) => data)).toEqual(expected)
    expect(told.cached.map(({ data }) => data)).toEqual(expected)
    expect(told.cached.map(({ extensions }) => extensions?.freshness?.source)).toEqual(["cached", "cached"])
  })

  it("pages through a list without gap or repetition, live and then cached", async () => {
    const past = new History()
    const numbers = Array.from({ length: 9 }, (_, n) => {
      past.open(carl, `ticket ${n}`)
      return n + 1
    })
    const query = `query ($after: String) { tickets(list: all, first: 2, after: $after) { nodes { number } pageInfo { hasNextPage endCursor } } }`
    const walk = (desk: LiveDesk) =>
      Effect.gen(function* () {
        const seen: Array<number> = []
        let after: string | null = null
        do {
          const told: { readonly data?: unknown } = yield* desk.ask(ada, query, { after })
          const { tickets } = told.data as {
            tickets: { nodes: Array<{ number: number }>; pageInfo: { hasNextPage: boolean; endCursor: string } }
          }
          seen.push(...tickets.nodes.map(({ number }) => number))
          after = tickets.pageInfo.hasNextPage ? tickets.pageInfo.endCursor : null
          // A cursor of one source continues in the other.
          if (seen.length === 4) yield* desk.database.set({ _tag: "Refuse" })
        } while (after !== null)
        return seen
      })
    expect(await onDesk(walk, past)).toEqual(numbers.toReversed())
  })

  it("pages through a conversation by messages, whatever notes lie between", async () => {
    const query = `query ($id: ID!, $after: String) { ticket(id: $id) { conversation(first: 1, after: $after) { nodes { body } pageInfo { hasNextPage endCursor } } } }`
    const bodies = await onDesk((desk) =>
      Effect.gen(function* () {
        const seen: Array<string> = []
        let after: string | null = null
        do {
          const told: { readonly data?: unknown } = yield* desk.ask(carl, query, { id: ticketId, after })
          const { conversation } = (
            told.data as {
              ticket: {
                conversation: { nodes: Array<{ body: string }>; pageInfo: { hasNextPage: boolean; endCursor: string } }
              }
            }
          ).ticket
          seen.push(...conversation.nodes.map(({ body }) => body))
          after = conversation.pageInfo.hasNextPage ? conversation.pageInfo.endCursor : null
        } while (after !== null)
        return seen
      })
    )
    expect(bodies).toEqual(["It burns.", "Have you tried water?", "It still burns."])
  })

  it("finds by the beginnings of words, by number and by resemblance, ranked, and only what may be seen", async () => {
    const query = `query ($q: String!) { search(query: $q) { nodes { ticket { number } highlights { text matched } } } }`
    const numbers = (viewer: typeof ada, q: string) => (desk: LiveDesk) =>
      Effect.map(desk.ask(viewer, query, { q }), ({ data }) =>
        (data as { search: { nodes: Array<{ ticket: { number: number } }> } }).search.nodes.map(
          ({ ticket }) => ticket.number
        )
      )
    const found = await onDesk((desk) =>
      Effect.all({
        prefix: numbers(ada, "PRINT fir")(desk),
        subjectAndBody: numbers(ada, "printer burns")(desk),
        note: numbers(ada, "secret")(desk),
        noteForCustomer: numbers(carl, "secret")(desk),
        othersForCustomer: numbers(carl, "network")(desk),
        byNumber: numbers(ada, "#2")(desk),
        misspelt: numbers(ada, "pritner")(desk),
        hostile: numbers(ada, "'); DROP TABLE read.ticket; -- & | ! :* <->")(desk),
        nothing: numbers(ada, "--- !!!")(desk)
      })
    )
    expect(found).toMatchObject({
      prefix: [1],
      subjectAndBody: [1],
      note: [1],
      noteForCustomer: [],
      othersForCustomer: [],
      hostile: [],
      nothing: []
    })
    expect(found.byNumber[0]).toBe(2)
  })

  it("answers a full page with requesters, assignees, conversations and files in three statements", async () => {
    const past = new History()
    for (let n = 0; n < 20; n++) {
      const id = past.open(carl, `ticket ${n}`)
      past.issue(ada, { _tag: "ClaimTicket", ticketId: id })
      const fileId = past.upload(carl, "a.png", id)
      past.issue(carl, { _tag: "AttachFile", ticketId: id, fileId, name: "a.png" })
    }
    const query = `{ tickets(list: all) { nodes { requester { name } assignee { name } conversation(first: 5) { nodes { body } } attachments { file { state } } } } }`
    const told = await onDesk(
      (desk) =>
        Effect.gen(function* () {
          const before = desk.statements.length
          const answer = yield* desk.ask(ada, query)
          return { answer, statements: desk.statements.slice(before) }
        }),
      past
    )
    expect(told.answer.errors).toBeUndefined()
    expect(told.statements.map((text) => /read\.(?!projection_state)\w+/.exec(text)?.[0]).sort()).toEqual([
      "read.file",
      "read.message",
      "read.ticket"
    ])
    expect(JSON.stringify(told.answer.data)).toContain(`"assignee":{"name":"Ada"}`)
  })
})
