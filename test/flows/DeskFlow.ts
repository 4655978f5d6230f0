// The desk's story from end to end, through real clients: a customer opens a ticket, a big upload is cut and resumed, hostile files end
// rejected, an image is released, a rule assigns, a webhook arrives signed, and somebody who was away for all of it gets every
// event exactly once. The same story runs on the embedded default and on the real servers.
import { createHash, randomBytes, randomUUIDv7 } from "node:crypto"
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import sharp from "sharp"
import { Webhook } from "standardwebhooks"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import {
  command,
  downloaded,
  feedUntil,
  query,
  replyByGrpc,
  replyByRpc,
  socketClient,
  subscribedUntil,
  until,
  upload,
  uploadWithCuts
} from "./Clients.ts"
import { type Desk, type Mode, startDesk, webhookSecret } from "./Desk.ts"

const testFiles = "/usr/share/clamav-testfiles"
const mebibyte = 1024 * 1024
const hourMs = 3_600_000

const fileQuery = `query($id: ID!) { file(id: $id) { state mediaType downloadUrl rejection { reason detail } derivatives { kind downloadUrl } timeline { stage outcome } } }`

const notificationsQuery =
  "{ notifications(first: 5) { unreadCount nodes { kind position readAt actor { id } ticket { id } } } }"
const typing = "mutation($id: ID!) { typing(ticketId: $id, isTyping: true) }"

interface Notified {
  readonly unreadCount: number
  readonly nodes: ReadonlyArray<{ readonly position: number; readonly readAt: string | null }>
}

interface FileAnswer {
  readonly file: {
    readonly state: string
    readonly downloadUrl: string | null
    readonly rejection: { readonly reason: string } | null
    readonly derivatives: ReadonlyArray<{ readonly kind: string; readonly downloadUrl: string | null }>
  } | null
}

export const deskFlow = (mode: Mode) =>
  describe(`the desk, ${mode}`, () => {
    let desk: Desk
    let customer: string
    let agent: string
    let before: number
    const ticketId = randomUUIDv7()
    const correlationId = randomUUIDv7()
    const fromHour = new Date(Math.floor(Date.now() / hourMs) * hourMs).toISOString()
    const traceId = randomBytes(16).toString("hex")
    const headers = {
      "x-correlation-id": correlationId,
      traceparent: `00-${traceId}-${randomBytes(8).toString("hex")}-01`
    }
    const fileOf = (token: string, id: string) => query<FileAnswer>(desk, token, fileQuery, { id })
    const settled = (id: string) =>
      until(`file ${id} is released or rejected`, async () => {
        const { data } = await fileOf(agent, id)
        return data.file?.state === "released" || data.file?.state === "rejected" ? data.file : null
      })

    beforeAll(async () => {
      desk = await startDesk(mode)
      customer = await desk.token("customer", "carla", "Carla Customer")
      agent = await desk.token("agent", "ada", "Ada Agent")
      const first = await until("the desk answers", () =>
        query<unknown>(desk, agent, "{ tickets(list: all, first: 1) { totalCount } }")
      )
      before = first.freshness.position
    }, 180_000)
    afterAll(async () => {
      expect(await desk?.stop()).toBe(0)
    }, 180_000)

    it("opens a ticket for a customer, once, however often it is sent", async () => {
      const payload = { subject: "The printer is on fire", body: "It smokes. What now?" }
      const first = await command(desk, customer, "/v1/tickets", payload, ticketId, headers)
      expect(first).toMatchObject({ status: 200, body: { streamId: ticketId, version: 1, replayed: false } })
      const again = await command(desk, customer, "/v1/tickets", payload, ticketId, headers)
      expect(again).toMatchObject({ status: 200, body: { streamId: ticketId, version: 1, replayed: true } })
      const other = await command(desk, customer, "/v1/tickets", { ...payload, subject: "No" }, ticketId, headers)
      expect(other).toMatchObject({ status: 422, body: { type: "urn:holdfast:problem:CommandIdReused" } })
    })

    it("assigns it by the rule that matches its subject", async () => {
      const assignee = await until("the rule has assigned the ticket", async () => {
        const { data } = await query<{ ticket: { assignee: { id: string } | null } | null }>(
          desk,
          agent,
          "query($id: ID!) { ticket(id: $id) { assignee { id } } }",
          { id: ticketId }
        )
        return data.ticket?.assignee ?? null
      })
      expect(assignee).toEqual({ id: "ada" })
    })

    it("takes the same command over REST, RPC and gRPC and does it once", async () => {
      const commandId = randomUUIDv7()
      const payload = { ticketId, body: "Please unplug it." }
      const rest = await command(
        desk,
        agent,
        `/v1/tickets/${ticketId}/replies`,
        { body: payload.body },
        commandId,
        headers
      )
      const rpc = await replyByRpc(desk, agent, payload, commandId)
      const grpc = await replyByGrpc(desk, agent, payload, commandId)
      expect(rest.body).toMatchObject({ commandId, replayed: false })
      expect(rpc).toMatchObject({ commandId, replayed: true })
      expect(grpc).toMatchObject({ commandId, replayed: true })
      const { data } = await until("the reply's version is reached", () =>
        query<{ ticket: { conversation: { nodes: ReadonlyArray<{ body: string }> } } }>(
          desk,
          agent,
          "query($id: ID!, $v: Int) { ticket(id: $id, atLeastVersion: $v) { conversation(first: 50) { nodes { body } } } }",
          { id: ticketId, v: (rest.body as { version: number }).version }
        )
      )
      expect(data.ticket.conversation.nodes.filter(({ body }) => body === payload.body)).toHaveLength(1)
    })

    it("shows a note to staff and never to the customer", async () => {
      const noted = await command(
        desk,
        agent,
        `/v1/tickets/${ticketId}/notes`,
        { body: "Third fire this week." },
        randomUUIDv7()
      )
      expect(noted.status).toBe(200)
      const text =
        "query($id: ID!, $v: Int) { ticket(id: $id, atLeastVersion: $v) { conversation(first: 50) { nodes { body } } } }"
      const variables = { id: ticketId, v: (noted.body as { version: number }).version }
      const shownTo = async (token: string) =>
        JSON.stringify(await until("the note's version is reached", () => query<unknown>(desk, token, text, variables)))
      expect(await shownTo(agent)).toContain("Third fire")
      expect(await shownTo(customer)).not.toContain("Third fire")
      const refused = await command(desk, customer, `/v1/tickets/${ticketId}/notes`, { body: "Me too" }, randomUUIDv7())
      expect(refused).toMatchObject({ status: 403, body: { type: "urn:holdfast:problem:Forbidden" } })
    })

    it("resumes a 64 MiB upload that is cut three times, byte for byte", async () => {
      const bytes = randomBytes(64 * mebibyte)
      const { fileId, cuts } = await uploadWithCuts(
        desk,
        customer,
        bytes,
        { filename: "disk.bin", filetype: "application/octet-stream", ticketId },
        3
      )
      expect(cuts).toBe(3)
      const attached = await command(
        desk,
        customer,
        `/v1/tickets/${ticketId}/files`,
        { fileId, name: "disk.bin" },
        randomUUIDv7(),
        headers
      )
      expect(attached.status).toBe(200)
      const file = await settled(fileId)
      expect(file.state).toBe("released")
      const content = await downloaded(file.downloadUrl)
      expect(createHash("sha256").update(content.bytes).digest("hex")).toBe(
        createHash("sha256").update(bytes).digest("hex")
      )
      expect(content.headers.get("content-disposition")).toMatch(/^attachment/)
    }, 180_000)

    it("releases an image, re-encoded without its metadata, with a thumbnail", async () => {
      const image = await sharp({ create: { width: 640, height: 480, channels: 3, background: "#336699" } })
        .withExif({ IFD0: { Copyright: "a secret place" } })
        .jpeg()
        .toBuffer()
      const fileId = await upload(
        desk,
        customer,
        image,
        { filename: "fire.jpg", filetype: "image/jpeg", ticketId },
        headers
      )
      const file = await settled(fileId)
      expect(file.state).toBe("released")
      const content = await downloaded(file.downloadUrl)
      expect(content.headers.get("content-type")).toBe("image/jpeg")
      expect(content.headers.get("x-content-type-options")).toBe("nosniff")
      expect(content.bytes.includes("a secret place")).toBe(false)
      const thumbnail = file.derivatives.find(({ kind }) => kind === "thumbnail")
      const { height, width } = await sharp((await downloaded(thumbnail?.downloadUrl ?? null)).bytes).metadata()
      expect(Math.max(width, height)).toBeLessThanOrEqual(256)
    })

    it("rejects EICAR and gives nobody a link to it", async () => {
      const eicar = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].join("-")
      const file = await settled(
        await upload(desk, customer, Buffer.from(eicar), { filename: "invoice.txt", filetype: "text/plain" })
      )
      expect(file).toMatchObject({ state: "rejected", downloadUrl: null, rejection: { reason: "malware" } })
    })

    // Only clamd has signatures; the policy scanner of the embedded default is not an antivirus and says so.
    if (mode === "servers")
      it("rejects every one of Debian's test files", async () => {
        const names = await readdir(testFiles)
        expect(names.length).toBeGreaterThan(40)
        // One upload after the other, as the gateway bounds what one person does at once; the pipeline has them all under way.
        const uploads: Array<{ readonly filename: string; readonly fileId: string }> = []
        for (const filename of names) {
          const bytes = await readFile(join(testFiles, filename))
          const fileId = await upload(desk, customer, bytes, { filename, filetype: "application/octet-stream" })
          uploads.push({ filename, fileId })
        }
        const states = await Promise.all(
          uploads.map(async ({ fileId, filename }) => `${filename}: ${(await settled(fileId)).state}`)
        )
        expect(states.filter((state) => !state.endsWith(": rejected"))).toEqual([])
      }, 180_000)

    it("finds the ticket by its words", async () => {
      const found = await until("search finds it", async () => {
        const { data } = await query<{ search: { nodes: ReadonlyArray<{ ticket: { id: string } }> } }>(
          desk,
          agent,
          'query { search(query: "printer fire", first: 5) { nodes { ticket { id } } } }'
        )
        return data.search.nodes.find(({ ticket }) => ticket.id === ticketId) ?? null
      })
      expect(found.ticket.id).toBe(ticketId)
    })

    it("counts it in its hour", async () => {
      const opened = await until("the hour counts it", async () => {
        const { data } = await query<{ ticketVolume: ReadonlyArray<{ opened: number }> }>(
          desk,
          agent,
          "query($fromHour: DateTime!) { ticketVolume(fromHour: $fromHour, hours: 3) { opened } }",
          { fromHour }
        )
        return data.ticketVolume.reduce((sum, hour) => sum + hour.opened, 0) || null
      })
      expect(opened).toBeGreaterThanOrEqual(1)
    })

    it("sends a webhook whose signature the receiver can verify", async () => {
      const webhook = await until(
        "the webhook has arrived",
        async () => desk.webhooks.find(({ body }) => body.includes("TicketOpened") && body.includes(ticketId)) ?? null
      )
      const verified = new Webhook(webhookSecret).verify(webhook.body, { ...webhook.headers })
      expect(verified).toMatchObject({ subject: ticketId, correlationid: correlationId })
    })

    it("gives somebody who was away each event exactly once and in order", async () => {
      const events = await feedUntil(desk, agent, { id: ticketId, after: before }, "FileAttached")
      expect(events.map(({ type }) => type)).toEqual([
        "TicketOpened",
        "TicketAssigned",
        "TicketStatusChanged",
        "TicketReplied",
        "NoteAdded",
        "FileAttached"
      ])
      expect(events.map(({ streamVersion }) => streamVersion)).toEqual([1, 2, 3, 4, 5, 6])
      const ascending = events.map(({ position }) => position).toSorted((a, b) => a - b)
      expect(events.map(({ position }) => position)).toEqual(ascending)
      const seen = await feedUntil(desk, customer, { id: ticketId, after: before }, "FileAttached")
      expect(seen.map(({ type }) => type)).toEqual(
        events.map(({ type }) => type).filter((type) => type !== "NoteAdded")
      )
    })

    it("tells an agent what names them, and another device that it was read", async () => {
      const bob = await desk.token("agent", "bob", "Bob Agent")
      const id = randomUUIDv7()
      await command(desk, customer, "/v1/tickets", { subject: "No network", body: "None." }, id)
      await command(desk, agent, `/v1/tickets/${id}/notes`, { body: "Yours?", mentions: ["bob"] }, randomUUIDv7())
      const kept = (count: number) =>
        until(`bob has ${count} unread`, async () => {
          const { data } = await query<{ notifications: Notified }>(desk, bob, notificationsQuery)
          return data.notifications.unreadCount === count ? data.notifications : null
        })
      const [newest] = (await kept(1)).nodes
      expect(newest).toMatchObject({ kind: "mentioned", actor: { id: "ada" }, ticket: { id } })
      const read = await command(desk, bob, "/v1/notifications/read", { upTo: newest?.position }, randomUUIDv7())
      expect(read.status).toBe(200)
      expect((await kept(0)).nodes[0]?.readAt).not.toBeNull()
      const told = await subscribedUntil<{ myNotifications: { kind: string } }>(
        desk,
        bob,
        "subscription($after: Position) { myNotifications(after: $after) { kind } }",
        { after: before },
        ({ myNotifications }) => myNotifications.kind === "read"
      )
      expect(told.map(({ myNotifications }) => myNotifications.kind)).toEqual(["mentioned", "read"])
    })

    it("warns two agents who write on one ticket", async () => {
      const bob = await desk.token("agent", "bob", "Bob Agent")
      const writing = [agent, bob].map((token) => socketClient(desk, token))
      const say = () => Promise.all(writing.map((client) => client.iterate({ query: typing, variables }).next()))
      const variables = { id: ticketId }
      const saying = setInterval(() => void say(), 500)
      const seen = await subscribedUntil<{ presence: { collision: boolean; people: ReadonlyArray<{ id: string }> } }>(
        desk,
        agent,
        "subscription($id: ID!) { presence(ticketId: $id) { people { id state } collision } }",
        variables,
        ({ presence }) => presence.collision
      )
      clearInterval(saying)
      await Promise.all(writing.map((client) => client.dispose()))
      expect(
        seen
          .at(-1)
          ?.presence.people.map(({ id }) => id)
          .toSorted()
      ).toEqual(["ada", "bob"])
    })

    it("carries one trace id through every process that the command passed", async () => {
      const passed = ["command-api", "event-worker", "file-gateway", "file-worker"]
      const spans = await until(`${passed.join(", ")} have exported their spans`, async () => {
        const own = desk.spans.filter((span) => span.traceId === traceId)
        return passed.every((name) => own.some(({ service }) => service === name)) ? own : null
      })
      const names = spans
        .filter(({ service }) => service === "event-worker")
        .map(({ name }) => name)
        .join(" ")
      for (const group of ["views", "cache", "automation", "analytics", "webhooks"]) expect(names).toContain(group)
    })
  })
