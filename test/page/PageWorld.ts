// A desk, a browser and whatever can go wrong between them: each door of the desk behind a proxy that breaks it on command, and PostgreSQL
// taken away as a drill does it. Somebody else works at the same desk over its API.
import { randomUUIDv7 } from "node:crypto"
import { join } from "node:path"
import { PrincipalId } from "@holdfast/contracts/Ids"
import type { Role } from "@holdfast/contracts/Principal"
import { askHeal, askOutage, controlPath } from "@holdfast/holdfast/supervisor/Control"
import { issueToken } from "@holdfast/identity/Tokens"
import { type Chromium, startChromium } from "@holdfast/testkit/Chromium"
import { type Fault, type FaultProxy, faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { Duration, Effect, Exit, Redacted, Scope } from "effect"
import { command, query, until } from "../flows/Clients.ts"
import { type Desk, startDesk } from "../flows/Desk.ts"

const doors = ["command", "realtime", "file"] as const
type Door = (typeof doors)[number]

export class PageWorld {
  readonly desk: Desk
  readonly browser: Chromium
  /** The person at the page. */
  readonly agent: string
  /** Another of the desk. */
  readonly colleague: string
  /** The person elsewhere. */
  readonly customer: string
  readonly #proxies: ReadonlyMap<Door, FaultProxy>
  readonly #scope: Scope.Closeable

  private constructor(
    parts: Pick<PageWorld, "desk" | "browser" | "agent" | "colleague" | "customer">,
    proxies: ReadonlyMap<Door, FaultProxy>,
    scope: Scope.Closeable
  ) {
    this.desk = parts.desk
    this.browser = parts.browser
    this.agent = parts.agent
    this.colleague = parts.colleague
    this.customer = parts.customer
    this.#proxies = proxies
    this.#scope = scope
  }

  static async start(): Promise<PageWorld> {
    const scope = Scope.makeUnsafe()
    const ending = (end: () => Promise<unknown>) => Effect.runPromise(Scope.addFinalizer(scope, Effect.promise(end)))
    try {
      const desk = await startDesk("embedded", { environment: { HOLDFAST_OTLP_URL: undefined } })
      await ending(() => desk.stop())
      const proxies = new Map<Door, FaultProxy>()
      const reroute: Record<string, string> = {}
      for (const door of doors) {
        const target = targetOf(desk.url[door])
        const proxy = await Effect.runPromise(Scope.provide(faultProxy(target), scope))
        proxies.set(door, proxy)
        reroute[`${target.host}:${target.port}`] = `127.0.0.1:${proxy.port}`
      }
      const browser = await startChromium({ reroute })
      await ending(() => browser.stop())
      const agent = await tokenOf(desk, "agent", "ada", "Ada Agent")
      const colleague = await tokenOf(desk, "agent", "kim", "Kim Agent")
      const customer = await tokenOf(desk, "customer", "carla", "Carla Customer")
      return new PageWorld({ desk, browser, agent, colleague, customer }, proxies, scope)
    } catch (cause) {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      throw cause
    }
  }

  stop(): Promise<void> {
    return Effect.runPromise(Scope.close(this.#scope, Exit.void))
  }

  get pageUrl(): string {
    return this.desk.url.query
  }

  async set(door: Door, fault: Fault): Promise<void> {
    const proxy = this.#proxies.get(door)
    if (proxy === undefined) throw new Error(`there is no proxy before ${door}`)
    await Effect.runPromise(proxy.set(fault))
  }

  async mend(): Promise<void> {
    for (const door of doors) await this.set(door, { _tag: "Pass" })
    await this.healPostgres()
  }

  /** PostgreSQL accepts connections and answers nothing, until it is healed. */
  hangPostgres(): Promise<void> {
    return Effect.runPromise(askOutage(this.#control, { dependency: "postgres", fault: "hang", seconds: 300 }))
  }

  healPostgres(): Promise<void> {
    return Effect.runPromise(askHeal(this.#control))
  }

  get #control(): string {
    return controlPath(join(this.desk.dataDir, "run"))
  }

  async openTicket(subject: string): Promise<string> {
    const id = randomUUIDv7()
    await this.#write(this.customer, "/v1/tickets", { subject, body: `About: ${subject}` }, id)
    return id
  }

  /** The agent's, and its time is over soon: not before a slow page has shown a ticket. */
  briefToken(): Promise<string> {
    return tokenOf(this.desk, "agent", "ada", "Ada Agent", Duration.seconds(25))
  }

  /** Somebody else replies. */
  reply(ticketId: string, body: string): Promise<void> {
    return this.#write(this.customer, `/v1/tickets/${ticketId}/replies`, { body })
  }

  /** The colleague gives the ticket to the person at the page. */
  assign(ticketId: string): Promise<void> {
    return this.#write(this.colleague, `/v1/tickets/${ticketId}/assignment`, { assigneeId: "ada" })
  }

  close(ticketId: string): Promise<void> {
    return this.#write(this.agent, `/v1/tickets/${ticketId}/status`, { status: "closed" })
  }

  async #write(token: string, path: string, payload: unknown, commandId = randomUUIDv7()): Promise<void> {
    const { body, status } = await command(this.desk, token, path, payload, commandId)
    if (status !== 200) throw new Error(`${path} was answered ${status}: ${JSON.stringify(body)}`)
  }

  /** The bodies of all messages, as the desk has them. */
  async messages(ticketId: string): Promise<ReadonlyArray<string>> {
    const text = "query($id: ID!) { ticket(id: $id) { conversation(first: 100) { nodes { body } } } }"
    const { data } = await until("the desk shows the ticket", () =>
      query<{
        readonly ticket: { readonly conversation: { readonly nodes: ReadonlyArray<{ readonly body: string }> } }
      }>(this.desk, this.agent, text, { id: ticketId })
    )
    return data.ticket.conversation.nodes.map(({ body }) => body)
  }
}

/** Signed here: `holdfast token` is a process of its own. */
const tokenOf = async (
  desk: Desk,
  role: Role,
  id: string,
  name: string,
  lifetime = Duration.hours(1)
): Promise<string> =>
  Redacted.value(
    await Effect.runPromise(
      issueToken({
        directory: join(desk.dataDir, "keys"),
        issuer: "holdfast",
        audience: "holdfast",
        principal: { id: PrincipalId.make(id), role, name },
        lifetime
      })
    )
  )
