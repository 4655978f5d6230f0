// The open ticket: read once as a snapshot, then kept current by the feed. What cannot be read anew stays as it was, and says of when it is.
import { at, el, setText, show, showList } from "/elements.js"
import { showFiles } from "/filesView.js"
import { FileWatch } from "/fileWatch.js"
import { ticketAfter, ticketAfterFile } from "/ticketState.js"
import { clock, person, statusWords } from "/words.js"

const pagesMax = 20

const ticketQuery = `query($id: ID!, $after: String) {
  ticket(id: $id) {
    id number subject status priority openedAt updatedAt requester { id name } assignee { id name }
    attachments { fileId name audience attachedAt withdrawn file { id state rejection { reason detail } } }
    conversation(first: 50, after: $after) {
      nodes { id audience body sentAt author { id name } }
      pageInfo { hasNextPage endCursor }
    }
  }
}`
const changesQuery = `subscription($id: ID!, $after: Position) {
  ticketChanged(id: $id, after: $after) {
    position type occurredAt actor { id name } status assigneeId audience messageId body fileId fileName reason
  }
}`

/** Throws in plain words. The position is that of the first page: what came while the others were read is told again, and shown once. */
const readTicket = async (desk, id) => {
  const messages = []
  let first = null
  let after = null
  for (let page = 0; page < pagesMax; page++) {
    const { data, freshness } = await desk.query(ticketQuery, { id, after })
    if (data.ticket === null) throw new Error("There is no such ticket, or you may not see it.")
    first ??= { ...data.ticket, freshness, position: freshness.position ?? 0 }
    const { nodes, pageInfo } = data.ticket.conversation
    messages.push(...nodes)
    if (!pageInfo.hasNextPage) break
    after = pageInfo.endCursor
  }
  return { ...first, messages }
}

export class TicketView {
  #options
  #files
  #ticket = null
  #wanted = null
  #troubleSince = null
  #stopChanges = () => {}

  /**
   * `onMessage` hears of each message that is shown, `onWritten` when the desk wrote something, `onAttached` of each file that hangs on it.
   */
  constructor(options) {
    const { desk, feed } = options
    this.#options = options
    this.#files = new FileWatch({ desk, feed, onFile: (change) => this.#take(ticketAfterFile(this.#ticket, change)) })
  }

  get openId() {
    return this.#wanted
  }

  async open(id) {
    this.#leave()
    this.#wanted = id
    show(at("ticket-shown"), false)
    show(at("no-ticket"), false)
    setText(at("ticket-trouble"), "Reading the ticket.")
    show(at("ticket-trouble"), true)
    await this.#read().catch(() => {})
    if (id !== this.#wanted) return
    this.#stopChanges = this.#options.feed.watch({
      query: changesQuery,
      variables: { id },
      position: this.#ticket?.position ?? 0,
      onChange: ({ ticketChanged }) => this.#changed(ticketChanged),
      onResync: async () => {
        await this.#read()
        return this.#ticket.position
      },
      onRefused: () => {}
    })
    if (this.#ticket !== null) at("ticket-title").focus({ preventScroll: matchMedia("(min-width: 60rem)").matches })
  }

  close() {
    this.#leave()
    show(at("ticket-shown"), false)
    show(at("ticket-trouble"), false)
    show(at("no-ticket"), true)
    document.title = "Holdfast"
  }

  /** Reads again what is missing, or was an old copy. */
  mend() {
    if (this.#wanted === null) return
    const isWhole = this.#ticket !== null && this.#troubleSince === null && this.#ticket.freshness.source === "live"
    if (!isWhole) this.#read().catch(() => {})
  }

  #leave() {
    this.#stopChanges()
    this.#files.stop()
    this.#ticket = null
    this.#wanted = null
    this.#troubleSince = null
  }

  async #read() {
    const id = this.#wanted
    try {
      const snapshot = await readTicket(this.#options.desk, id)
      if (id !== this.#wanted) return
      this.#troubleSince = null
      this.#take(newer(snapshot, this.#ticket))
    } catch (error) {
      if (id !== this.#wanted) return
      this.#troubleSince ??= Date.now()
      renderTrouble(error.message, this.#troubleSince, this.#ticket !== null)
      throw error
    }
  }

  #changed(change) {
    this.#options.onWritten(change.occurredAt)
    if (this.#ticket !== null) this.#take(ticketAfter(this.#ticket, change))
    else this.mend()
  }

  #take(ticket) {
    const { desk, onAttached, onMessage } = this.#options
    this.#ticket = ticket
    for (const { id } of ticket.messages) onMessage(ticket.id, id)
    for (const { fileId } of ticket.attachments) onAttached(fileId)
    render(ticket, desk)
    this.#files.follow(ticket)
  }
}

/** A copy can be older than what the feed has shown already; how fresh it is counts all the same. */
const newer = (snapshot, shown) =>
  shown !== null && shown.position > snapshot.position ? { ...shown, freshness: snapshot.freshness } : snapshot

const render = (ticket, desk) => {
  show(at("ticket-trouble"), false)
  show(at("ticket-shown"), true)
  const title = `#${ticket.number} ${ticket.subject}`
  setText(at("ticket-title"), title)
  document.title = `${title} · Holdfast`
  renderFacts(ticket)
  renderFreshness(ticket.freshness)
  showList(
    at("messages"),
    ticket.messages,
    ({ id }) => id,
    messageItem,
    () => {}
  )
  showFiles(ticket.attachments, desk)
}

const renderFreshness = ({ asOf, source }) => {
  const isLive = source === "live"
  setText(at("ticket-freshness"), isLive ? "" : `The database is away: this is the copy of ${clock(asOf, Date.now())}`)
  at("ticket-freshness").dataset.state = isLive ? "live" : "stale"
}

const renderTrouble = (sentence, sinceMs, isShown) => {
  const words = `The ticket cannot be read since ${clock(sinceMs, Date.now())}: ${sentence}`
  if (isShown) {
    at("ticket-freshness").dataset.state = "stale"
    return setText(at("ticket-freshness"), `${words} What you see is as it was then.`)
  }
  show(at("ticket-trouble"), true)
  setText(at("ticket-trouble"), words)
}

const renderFacts = ({ assignee, openedAt, priority, requester, status, updatedAt }) => {
  const facts = [
    ["Status", statusWords(status)],
    ["Priority", priority],
    ["Requester", person(requester)],
    ["Assignee", person(assignee)],
    ["Opened", clock(openedAt, Date.now())],
    ["Changed", clock(updatedAt, Date.now())]
  ]
  showList(
    at("facts"),
    facts,
    ([name]) => name,
    ([name]) => el("div", {}, el("dt", { textContent: name }), el("dd")),
    (item, [, value]) => setText(item.lastElementChild, value)
  )
}

const messageItem = ({ audience, author, body, sentAt }) => {
  const isNote = audience === "internal"
  const time = el("time", { dateTime: sentAt, textContent: clock(sentAt, Date.now()) })
  const head = el("p", { className: "by" }, el("strong", { textContent: person(author) }), " ", time)
  if (isNote) head.append(" ", el("span", { className: "tag", textContent: "Note, staff only" }))
  return el("article", { className: isNote ? "note" : "" }, head, el("p", { className: "body", textContent: body }))
}
