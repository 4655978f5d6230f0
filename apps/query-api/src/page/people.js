// Who else is on the open ticket, who writes, and what the visitor is told of by name. All of it is extra: where the desk does not offer it, or
// cannot just now, nothing is shown and nothing else is missing.
import { at, el, setText, show, showList } from "/elements.js"
import { freshId } from "/ids.js"
import { makeReader } from "/reader.js"
import { clock, person } from "/words.js"

const typingEveryMs = 3000

const presenceQuery = `subscription($ticketId: ID!) {
  presence(ticketId: $ticketId) { people { id name state } collision isStaffWriting }
}`
const typingQuery = `mutation($ticketId: ID!, $isTyping: Boolean!, $audience: Audience!) {
  typing(ticketId: $ticketId, isTyping: $isTyping, audience: $audience)
}`

export const openPresence = ({ feed, viewer }) => {
  let stop = () => {}
  let lastTold = { key: "", atMs: 0 }

  const render = ({ collision, isStaffWriting, people }) => {
    const others = people.filter(({ id }) => id !== viewer.id)
    // A customer is told nothing else; of the desk, each is named, and the writer may be oneself.
    const isDeskWriting = viewer.role === "customer" && isStaffWriting
    const words = presenceWords(others, collision, isDeskWriting)
    show(at("presence"), words !== "")
    setText(at("presence"), words)
    at("presence").dataset.state = collision ? "degraded" : "up"
  }

  return {
    open: (ticketId) => {
      stop()
      show(at("presence"), false)
      stop = feed.watch({
        query: presenceQuery,
        variables: { ticketId },
        // Nothing to resume: each message gives the whole.
        position: null,
        onChange: ({ presence }) => render(presence),
        onResync: () => Promise.resolve(null),
        onRefused: () => show(at("presence"), false)
      })
    },
    close: () => {
      stop()
      stop = () => {}
    },
    /** Said every few seconds while it goes on, and once when it ends. */
    typing: (ticketId, isTyping, audience) => {
      const key = `${ticketId} ${isTyping} ${audience}`
      if (lastTold.key === key && (!isTyping || Date.now() - lastTold.atMs < typingEveryMs)) return
      lastTold = { key, atMs: Date.now() }
      feed.tell(typingQuery, { ticketId, isTyping, audience })
    }
  }
}

const presenceWords = (others, collision, isDeskWriting) => {
  const names = (state) => others.filter((one) => one.state === state).map(person)
  const writing = names("writing")
  const viewing = names("viewing")
  const parts = []
  if (writing.length > 0) parts.push(`${list(writing)} ${writing.length === 1 ? "is" : "are"} writing.`)
  else if (isDeskWriting) parts.push("Somebody of the desk is writing.")
  if (viewing.length > 0) parts.push(`${list(viewing)} ${viewing.length === 1 ? "is" : "are"} here, too.`)
  if (collision && writing.length > 0) parts.push("You write at the same time: agree who answers.")
  return parts.join(" ")
}

const list = (names) => new Intl.ListFormat("en").format(names.slice(0, 5))

const inboxQuery = `query {
  notifications(first: 10, unreadOnly: true) {
    unreadCount
    nodes { eventId position kind occurredAt actor { id name } ticketId ticket { number subject } }
  }
}`
const toldQuery = "subscription($after: Position) { myNotifications(after: $after) { position kind } }"

const kindWords = {
  assigned: "gave you",
  mentioned: "names you in",
  replied: "answered in",
  fileRejected: "A file of yours was rejected"
}

export const openInbox = ({ desk, feed }) => {
  let newest = 0

  const read = async () => {
    const { data, freshness } = await desk.query(inboxQuery)
    const { nodes, unreadCount } = data.notifications
    newest = Math.max(newest, ...nodes.map(({ position }) => position))
    show(at("inbox"), true)
    setText(at("inbox-title"), unreadCount === 0 ? "For you" : `For you: ${unreadCount} unread`)
    setText(at("inbox-state"), unreadCount === 0 ? "Nothing new." : "")
    show(at("read-all"), unreadCount > 0)
    showList(
      at("notifications"),
      nodes,
      ({ eventId }) => eventId,
      notificationItem,
      () => {}
    )
    return freshness.position ?? 0
  }

  const refresh = makeReader(read)

  const readAll = async () => {
    const { kind, sentence } = await desk.command("/v1/notifications/read", { upTo: newest }, freshId())
    if (kind !== "accepted") setText(at("inbox-state"), `Not marked as read. ${sentence}`)
  }

  at("read-all").addEventListener("click", readAll)

  /** False: this desk, or this moment, has none. */
  const start = async () => {
    const position = await read().catch(() => null)
    if (position === null) return
    feed.watch({
      query: toldQuery,
      variables: {},
      position,
      onChange: ({ myNotifications }) => refresh(myNotifications.position),
      onResync: read,
      onRefused: () => show(at("inbox"), false)
    })
  }
  start()
}

const notificationItem = ({ actor, kind, occurredAt, ticket, ticketId }) => {
  const time = el("time", { className: "hint", dateTime: occurredAt, textContent: clock(occurredAt, Date.now()) })
  if (kind === "fileRejected" || ticketId === null) return el("li", {}, `${kindWords.fileRejected}. `, time)
  const title = ticket === null ? "a ticket" : `#${ticket.number} ${ticket.subject}`
  const link = el("a", { href: `#ticket/${ticketId}`, textContent: title })
  return el("li", {}, `${person(actor)} ${kindWords[kind] ?? "wrote to you in"} `, link, " ", time)
}
