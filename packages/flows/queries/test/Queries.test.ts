// What a client is told, by whom it is: permissions, freshness, pages, bounds, batching; and that the fast way and the reference executor
// answer alike.
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { GraphqlExecutor } from "@holdfast/contracts/wire/GraphqlExecutor"
import { verifyLink } from "@holdfast/domain/attachment/DownloadLink"
import { fullHistory, History, pipeline, principal } from "@holdfast/testkit/History"
import { Effect, Layer, Result } from "effect"
import { execute, getIntrospectionQuery, parse } from "graphql"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { graphqlExecutor } from "../src/graphql/Execute.ts"
import { printedSchema } from "../src/graphql/Printed.ts"
import { schema } from "../src/graphql/Schema.ts"
import { downloads, startDesk } from "./Desk.ts"
import { sharedFiles, sharedFilesQuery } from "./SharedFiles.ts"

const ada = principal("agent", "ada", "Ada")
const carl = principal("customer", "carl", "Carl")
const mallory = principal("customer", "mallory", "Mallory")
const history = fullHistory()
const [first] = history.envelopes
const ticketId = first?.streamId ?? ""
const fileIds = [...new Set(history.envelopes.filter((one) => one.streamType === "file").map((one) => one.streamId))]
const [photo = "", memo = ""] = fileIds

let desk: Awaited<ReturnType<typeof startDesk>>
beforeAll(async () => {
  desk = await startDesk(history.envelopes)
})
afterAll(() => desk.stop())

const everything = `query ($id: ID!) {
  me { id role name email __typename }
  ticket(id: $id) {
    ...all
    conversation(first: 10) { edges { cursor node { id audience author { id name email } body sentAt } } pageInfo { hasNextPage endCursor } }
    attachments { fileId name audience withdrawn file { id state name downloadUrl derivatives { kind downloadUrl } underWay { stage since } timeline { stage outcome state tool { name } } } }
  }
  tickets(list: all) { totalCount edges { cursor node { ...all } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }
}
fragment all on Ticket { id version number subject status priority requester { id name email } assignee { id name email } messageCount internalMessageCount openedAt updatedAt }`

describe("a customer", () => {
  it("sees the ticket without notes, internal files, or what a note changed", async () => {
    const { data, errors } = await desk.ask(carl, everything, { id: ticketId })
    expect(errors).toBeUndefined()
    expect(data.ticket).toMatchObject({ version: null, messageCount: 3, internalMessageCount: null })
    const bodies = data.ticket.conversation.edges.map((edge: { node: { body: string } }) => edge.node.body)
    expect(bodies).toEqual(["It burns.", "Have you tried water?", "It still burns."])
    expect(data.ticket.attachments.map((one: { name: string }) => one.name)).toEqual(["fire.png"])
    expect(JSON.stringify(data)).not.toMatch(/secret|memo|ada@example/)
    expect(data.tickets).toMatchObject({ totalCount: 1 })
  })

  it("is shown the time and the version of the last public change, not of a note", async () => {
    const past = new History()
    const id = past.open(carl, "quiet")
    const last = past.envelopes.at(-1)
    past.issue(ada, { _tag: "AddNote", ticketId: id, body: "a note" })
    const quiet = await startDesk(past.envelopes)
    const query = `{ ticket(id: "${id}") { updatedAt shownVersion } }`
    const [customer, agent] = [await quiet.ask(carl, query), await quiet.ask(ada, query)]
    await quiet.stop()
    expect(new Date(customer.data.ticket.updatedAt).getTime()).toBe(last?.occurredAt.epochMilliseconds)
    expect(customer.data.ticket.shownVersion).toBe(last?.streamVersion)
    expect(agent.data.ticket.shownVersion).toBeGreaterThan(customer.data.ticket.shownVersion)
    expect(agent.data.ticket.updatedAt).not.toBe(customer.data.ticket.updatedAt)
  })

  it("sees nothing of others: ticket, list, file, search, volume", async () => {
    const query = `query ($id: ID!, $file: ID!) { ticket(id: $id) { id } tickets(list: all) { edges { node { id } } } file(id: $file) { id } search(query: "printer") { edges { node { ticket { id } } } } }`
    const { data } = await desk.ask(mallory, query, { id: ticketId, file: photo })
    expect(data).toEqual({ ticket: null, tickets: { edges: [] }, file: null, search: { edges: [] } })
    const volume = await desk.ask(mallory, `{ ticketVolume(fromHour: "2026-01-05T08:00:00Z") { opened } }`)
    expect(volume).toMatchObject({ data: { ticketVolume: null }, errors: [{ extensions: { code: "FORBIDDEN" } }] })
  })

  it("finds by public words alone", async () => {
    const query = `query ($q: String!) { search(query: $q) { edges { node { ticket { id } highlights { text matched } } } } }`
    const found = async (viewer: typeof carl, q: string) => (await desk.ask(viewer, query, { q })).data.search.edges
    expect(await found(carl, "secret")).toEqual([])
    expect(await found(ada, "secret")).toHaveLength(1)
    const [hit] = await found(carl, "BURNS")
    expect(hit.node.highlights).toContainEqual({ text: "burns", matched: true })
  })

  it("may download what was released for them, by a link of their own", async () => {
    const { data } = await desk.ask(
      carl,
      `{ file(id: "${photo}") { state downloadUrl derivatives { kind downloadUrl } } }`
    )
    const url = new URL(data.file.downloadUrl)
    expect(url.pathname).toBe(`/download/${photo}`)
    const claims = Result.getOrThrow(verifyLink(downloads.key, photo, url.searchParams, Math.floor(Date.now() / 1000)))
    expect(claims).toMatchObject({ principalId: "carl", name: "fire.png" })
    expect(data.file.derivatives).toEqual([{ kind: "thumbnail", downloadUrl: expect.stringContaining("/download/") }])
    expect((await desk.ask(carl, `{ file(id: "${memo}") { id } }`)).data).toEqual({ file: null })
    expect(
      (await desk.ask(ada, `{ file(id: "${memo}") { state downloadUrl rejection { reason } } }`)).data.file
    ).toEqual({
      state: "rejected",
      downloadUrl: null,
      rejection: { reason: "malware" }
    })
  })
})

describe("a file that was withdrawn", () => {
  const dora = principal("customer", "dora", "Dora")
  const [withdrawn = ""] = fileIds.slice(2)
  const query = `query ($id: ID!) {
    file(id: $id) { state downloadUrl rejection { reason detail } underWay { stage } timeline { stage outcome state tool { name } } }
    tickets(list: all) { nodes { messageCount attachments { name withdrawn file { state } } } }
  }`
  const rejection = { reason: "malware", detail: "found" }
  const tool = { name: "test" }
  const line = (stage: string, outcome: string, state: string) => ({ stage, outcome, state, tool: null })
  const way = [
    line("identify", "passed", "identified"),
    line("scan", "passed", "scanned"),
    line("convert", "passed", "converted"),
    line("release", "passed", "released")
  ]

  it.each([false, true])(
    "says so to its owner, who hears of no rescan that found nothing, and of no note (outage: %s)",
    async (isOutage) => {
      desk.outage.database = isOutage
      const { data, extensions } = await desk.ask(dora, query, { id: withdrawn })
      desk.outage.database = false
      expect(extensions.freshness.source).toBe(isOutage ? "cached" : "live")
      expect(data.file).toEqual({
        ...{ state: "withdrawn", downloadUrl: null, rejection, underWay: null },
        timeline: [...way, line("rescan", "withdrawn", "withdrawn")]
      })
      expect(data.tickets.nodes).toEqual([
        { messageCount: 1, attachments: [{ name: "network.png", withdrawn: "malware", file: { state: "withdrawn" } }] }
      ])
    }
  )

  it("is told to staff with every look that was taken at it, and by which tools", async () => {
    const { data } = await desk.ask(ada, query, { id: withdrawn })
    const requested = line("rescan", "requested", "released")
    expect(data.file.timeline).toEqual([
      ...way.map((one) => ({ ...one, tool })),
      ...[requested, { ...line("rescan", "failed", "released"), tool }],
      ...[requested, { ...line("rescan", "passed", "released"), tool }],
      ...[requested, { ...line("rescan", "withdrawn", "withdrawn"), tool }]
    ])
  })

  it("is under way while it is looked at again, for staff", async () => {
    const past = new History()
    const fileId = past.upload(dora, "a.png")
    const underWay = async (viewer: typeof ada) => {
      const one = await startDesk(past.envelopes)
      const { data } = await one.ask(viewer, `{ file(id: "${fileId}") { underWay { stage } } }`)
      await one.stop()
      return data.file.underWay
    }
    expect(await underWay(dora)).toEqual({ stage: "identify" })
    past.release(fileId)
    expect([await underWay(dora), await underWay(ada)]).toEqual([null, null])
    past.issue(pipeline, { _tag: "RescanFile", fileId })
    expect([await underWay(dora), await underWay(ada)]).toEqual([null, { stage: "rescan" }])
  })
})

describe("a file that staff uploaded for no ticket", () => {
  const answers = async (viewer: typeof carl, isOutage: boolean) => {
    const { past, variables } = sharedFiles()
    const one = await startDesk(past.envelopes)
    one.outage.database = isOutage
    const { data, errors, extensions } = await one.ask(viewer, sharedFilesQuery, variables)
    await one.stop()
    expect(errors).toBeUndefined()
    expect(extensions.freshness.source).toBe(isOutage ? "cached" : "live")
    return data
  }
  const url = expect.stringContaining("/download/")
  const guessed = { attachments: [{ name: "guessed.png", file: null }] }
  const invoice = { name: "invoice.png", file: { state: "released", downloadUrl: url } }

  it.each([false, true])(
    "is opened by the customer to whom staff show it, and one kept internal is not (outage: %s)",
    async (isOutage) => {
      expect(await answers(carl, isOutage)).toEqual({
        invoice: { state: "released", downloadUrl: url },
        memo: null,
        tickets: { nodes: [guessed, { attachments: [invoice] }] }
      })
    }
  )

  it.each([false, true])("is opened by nobody else's customer (outage: %s)", async (isOutage) => {
    expect(await answers(mallory, isOutage)).toEqual({ invoice: null, memo: null, tickets: { nodes: [] } })
  })

  it("is all there for staff", async () => {
    const data = await answers(ada, false)
    expect([data.invoice.state, data.memo.state]).toEqual(["released", "released"])
  })
})

describe("an answer", () => {
  it("is the same from the plan and from the reference executor, for everyone", async () => {
    const withFailure = everything.replace("me {", 'nothing: file(id: "x") { id } me {')
    for (const viewer of [ada, carl, mallory]) {
      const planned = await desk.ask(viewer, withFailure, { id: ticketId })
      const reference = await desk.ask(
        viewer,
        `${withFailure.replace("me {", 'broken: tickets(after: "!") { totalCount } me {')}`,
        { id: ticketId }
      )
      expect(reference.errors).toMatchObject([{ path: ["broken"], extensions: { code: "BAD_USER_INPUT" } }])
      const { broken, ...data } = reference.data
      expect(broken).toBeNull()
      const signed = /([?&](e|s)=)[^"&]*/g
      expect(JSON.stringify(data).replace(signed, "$1")).toBe(JSON.stringify(planned.data).replace(signed, "$1"))
    }
  })

  it("follows skip and include, aliases and merged fields", async () => {
    const query = `query ($yes: Boolean!, $no: Boolean!) {
      a: me { id ...more @skip(if: $yes) role @include(if: $yes) }
      a: me { name @include(if: $no) ... @include(if: $yes) { email } }
    } fragment more on Viewer { name }`
    const { data } = await desk.ask(ada, query, { yes: true, no: false })
    expect(data).toEqual({ a: { id: "ada", role: "agent", email: "ada@example.org" } })
  })

  it("says where it came from and how old it is", async () => {
    const live = await desk.ask(ada, `{ tickets { edges { node { id } } } }`)
    expect(live.extensions.freshness).toEqual({
      source: "live",
      asOf: "1970-01-01T00:00:01.000Z",
      position: history.envelopes.length
    })
    expect((await desk.ask(ada, `{ me { id } }`)).extensions.freshness).toBeNull()
  })

  it("comes from the cache, marked and without an error, while the read database is away", async () => {
    desk.outage.database = true
    const { data, errors, extensions } = await desk.ask(carl, everything, { id: ticketId })
    desk.outage.database = false
    expect(errors).toBeUndefined()
    expect(extensions.freshness.source).toBe("cached")
    expect(data.ticket.subject).toBe("The printer is on fire")
  })

  it("never goes back behind what was shown while the read database was away", async () => {
    const past = new History()
    const id = past.open(ada, "old")
    const behind = [...past.envelopes]
    past.issue(ada, { _tag: "AddNote", ticketId: id, body: "new" })
    const late = await startDesk(past.envelopes, behind)
    const source = async () => {
      const { data, extensions } = await late.ask(ada, `{ ticket(id: "${id}") { version } }`)
      return [extensions.freshness.source, data.ticket.version]
    }
    const seen: Array<unknown> = [await source()]
    late.outage.database = true
    seen.push(await source())
    late.outage.database = false
    seen.push(await source())
    late.outage.cache = true
    seen.push(await source())
    late.outage.cache = false
    await late.catchUp()
    seen.push(await source())
    await late.stop()
    const [before, now] = [behind.length, past.envelopes.length]
    expect(seen).toEqual([
      ["live", before],
      ["cached", now],
      ["cached", now],
      // With no other answer to be had, an old one is better than none, and says where it stands.
      ["live", before],
      ["live", now]
    ])
  })

  it("does not take what the cache does not hold for what does not exist", async () => {
    desk.outage.database = true
    const { data, errors } = await desk.ask(ada, `{ ticket(id: "01900000-0000-7000-8000-ffffffffffff") { id } }`)
    desk.outage.database = false
    expect(data).toEqual({ ticket: null })
    expect(errors).toMatchObject([{ extensions: { code: "READ_UNAVAILABLE" } }])
  })

  it("is a typed refusal when both are away, and what needs neither is still answered", async () => {
    Object.assign(desk.outage, { database: true, cache: true })
    const { data, errors } = await desk.ask(ada, everything, { id: ticketId })
    Object.assign(desk.outage, { database: false, cache: false })
    expect(data).toMatchObject({ me: { id: "ada" }, ticket: null, tickets: null })
    expect(errors).toHaveLength(2)
    expect(errors[0].extensions).toEqual({ code: "READ_UNAVAILABLE", retryAfterMs: 1000 })
    expect((await desk.ask(ada, everything, { id: ticketId })).errors).toBeUndefined()
  })

  it("answers volumes from the copy, with the copy's age, as far back as it goes", async () => {
    desk.outage.database = true
    const volume = (fromHour: string) => desk.ask(ada, `{ ticketVolume(fromHour: "${fromHour}", hours: 2) { opened } }`)
    const answer = await volume("2026-01-05T08:00:00Z")
    const older = await volume("2025-12-01T08:00:00Z")
    desk.outage.database = false
    expect(answer.data).toEqual({ ticketVolume: [{ opened: 3 }, { opened: 4 }] })
    expect(answer.extensions.freshness).toMatchObject({ source: "cached", position: 7 })
    expect(older.errors).toMatchObject([{ extensions: { code: "READ_UNAVAILABLE" } }])
  })

  it("waits for a version for a bounded time, then says that it is not there", async () => {
    const seen = await desk.ask(ada, `{ ticket(id: "${ticketId}", atLeastVersion: 2) { version } }`)
    expect(seen.data.ticket.version).toBeGreaterThanOrEqual(2)
    const late = await desk.ask(ada, `{ ticket(id: "${ticketId}", atLeastVersion: 1000) { version } }`)
    expect(late).toMatchObject({ data: { ticket: null }, errors: [{ extensions: { code: "VERSION_NOT_REACHED" } }] })
  })
})

describe("reading", () => {
  it("asks once for a page and once for all its conversations and files", async () => {
    desk.asked.length = 0
    const query = `{ tickets(list: all) { edges { node { requester { id } assignee { id }
      conversation(first: 5) { edges { node { body } } } attachments { file { state } } } } } }`
    const { errors } = await desk.ask(ada, query)
    expect(errors).toBeUndefined()
    expect([...desk.asked].sort()).toEqual(["conversations", "files", "tickets"])
  })

  it("asks once for many tickets by id", async () => {
    desk.asked.length = 0
    const { data } = await desk.ask(
      ada,
      `{ a: ticket(id: "${ticketId}") { id } b: ticket(id: "${ticketId}") { subject } }`
    )
    expect(data).toMatchObject({ a: { id: ticketId }, b: { subject: "The printer is on fire" } })
    expect(desk.asked).toEqual(["ticketsByIds"])
  })

  it("shares equal pages asked at the same moment, and not between people who see different ones", async () => {
    desk.asked.length = 0
    const query = `{ tickets(list: all) { edges { node { subject } } } }`
    const [one, other, customer] = await Promise.all(
      [...Array.from({ length: 20 }, () => desk.ask(ada, query)), desk.ask(carl, query)].reverse().slice(0, 21)
    ).then((all) => [all[1], all[2], all[0]])
    expect(one).toEqual(other)
    expect(customer.data.tickets.edges).toHaveLength(1)
    expect(desk.asked.length).toBeLessThanOrEqual(3)
  })

  it("pages through a list without gap or repetition", async () => {
    const past = new History()
    const ids = Array.from({ length: 7 }, (_, n) => past.open(carl, `ticket ${n}`))
    const many = await startDesk(past.envelopes)
    const seen: Array<string> = []
    let after: string | null = null
    do {
      const page: {
        edges: Array<{ node: { id: string } }>
        pageInfo: { hasNextPage: boolean; endCursor: string | null }
      } = (
        await many.ask(
          ada,
          `query ($after: String) { tickets(list: all, first: 3, after: $after) { edges { node { id } } pageInfo { hasNextPage endCursor } } }`,
          { after }
        )
      ).data.tickets
      seen.push(...page.edges.map(({ node }) => node.id))
      after = page.pageInfo.hasNextPage ? page.pageInfo.endCursor : null
    } while (after !== null)
    await many.stop()
    expect(seen).toEqual([...ids].reverse())
  })
})

describe("a document", () => {
  const refusedWith = async (query: string, variables = {}) => {
    const { response, wasRun } = await desk.execute(ada, { query, variables })
    expect(wasRun).toBe(false)
    return JSON.parse(JSON.stringify(response)).errors[0]
  }

  it("is refused when it is too deep, too wide, too long, too much aliased or too costly", async () => {
    const deep = (n: number): string => (n === 0 ? "id" : `node { ticket: ${deep(n - 1)} }`)
    const spread = `query { ...a } fragment a on Query { ...b ...b } fragment b on Query { ...c ...c } ${[..."cdefghijk"].map((x, i, all) => `fragment ${x} on Query { ${all[i + 1] === undefined ? "me { id }" : `...${all[i + 1]} ...${all[i + 1]}`} }`).join(" ")}`
    const documents = [
      `{ tickets { ${"edges { node { ".repeat(11)} id ${"} }".repeat(11)} } }`,
      spread,
      `query { ...a } fragment a on Query { ...a }`,
      `{ me { ${"id ".repeat(600)} } }`,
      `{ ${Array.from({ length: 40 }, (_, n) => `x${n}: me { id }`).join(" ")} }`,
      `# ${"x".repeat(20_000)}\n{ me { id } }`,
      `{ tickets(first: 100) { edges { node { conversation(first: 100) { edges { node { body } } } } } } }`
    ]
    for (const document of documents)
      expect(await refusedWith(document)).toMatchObject({ extensions: { code: "QUERY_TOO_COSTLY" } })
    expect(deep(1)).toContain("node")
    expect(
      await refusedWith(
        `query ($n: Int) { tickets(first: $n) { edges { node { conversation(first: $n) { edges { node { body } } } } } } }`,
        { n: 100 }
      )
    ).toMatchObject({ extensions: { code: "QUERY_TOO_COSTLY" } })
    expect((await refusedWith(`{ me { ${"id\n".repeat(2100)} } }`)).message).toMatch(/tokens|select/)
  })

  it("is refused when it is not valid, without suggestions", async () => {
    expect((await refusedWith(`{ tickts { totalCount } }`)).message).not.toMatch(/did you mean/i)
    expect((await refusedWith(`mutation { x }`)).message).toBeDefined()
    expect((await refusedWith(`query a { me { id } } query b { me { id } }`)).message).toMatch(/several/)
  })

  it("may introspect for staff, not for customers", async () => {
    const query = getIntrospectionQuery()
    const { data } = await desk.ask(ada, query)
    expect(data).toEqual(JSON.parse(JSON.stringify((await execute({ schema, document: parse(query) })).data)))
    expect(await desk.ask(carl, query)).toMatchObject({ errors: [{ extensions: { code: "FORBIDDEN" } }] })
    expect((await desk.ask(carl, `{ __typename }`)).data).toEqual({ __typename: "Query" })
  })

  it("is known by its hash once it was sent with it", async () => {
    const query = `{ me { id } # ${Math.random()}\n }`
    const persistedHash = createHash("sha256").update(query).digest("hex")
    const unknown = await desk.execute(ada, { persistedHash })
    expect(unknown.response).toMatchObject({ errors: [{ extensions: { code: "PERSISTED_QUERY_NOT_FOUND" } }] })
    await desk.execute(ada, { query, persistedHash })
    expect((await desk.execute(carl, { persistedHash })).response).toMatchObject({ data: { me: { id: "carl" } } })
    const wrong = await desk.execute(ada, { query: "{ me { name } }", persistedHash })
    expect(wrong.wasRun).toBe(false)
  })

  it("asks for pages within bounds and with cursors of ours", async () => {
    for (const args of ["first: 101", "first: -1", `after: "x"`]) {
      expect(await desk.ask(ada, `{ tickets(${args}) { totalCount } }`)).toMatchObject({
        data: { tickets: null },
        errors: [{ extensions: { code: "BAD_USER_INPUT" } }]
      })
    }
  })
})

it("the printed schema is current", () => {
  const path = new URL("../../../contracts/src/wire/schema.graphql", import.meta.url)
  expect(readFileSync(path, "utf8")).toBe(printedSchema())
})

it("a socket's query is answered as over HTTP", async () => {
  const ask = GraphqlExecutor.use((executor) =>
    executor.execute(ada, { query: "query ($i: ID!) { ticket(id: $i) { number } }", variables: { i: ticketId } })
  )
  const response = await Effect.runPromise(Effect.provide(ask, Layer.provide(graphqlExecutor, desk.executor)))
  expect(response).toMatchObject({ data: { ticket: { number: 1 } }, extensions: { freshness: { source: "live" } } })
})
