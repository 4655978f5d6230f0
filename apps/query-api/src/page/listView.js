// The newest tickets. Changes that arrive close together are read together, one reading at a time; what cannot be read anew stays, and says of
// when it is.
import { at, el, setText, showList } from "/elements.js"
import { makeReader } from "/reader.js"
import { clock, person, statusWords } from "/words.js"

const ticketsShown = 20
const readAgainMs = 10_000

const listQuery = `query($first: Int!) {
  tickets(list: all, first: $first) {
    nodes { id number subject status updatedAt requester { id name } assignee { id name } }
  }
}`
const changesQuery = `subscription($after: Position) {
  ticketListChanged(list: all, after: $after) { position ticketId occurredAt }
}`

/** `onRead` hears the position that the list holds, `onWritten` when the desk wrote something. */
export const openList = ({ desk, feed, onRead, onWritten }) => {
  let troubleSince = null
  let openId = null
  let nodes = []

  const render = () =>
    showList(
      at("tickets"),
      nodes,
      ({ id }) => id,
      ticketItem,
      (item, ticket) => updateItem(item, ticket, openId)
    )

  const read = async () => {
    try {
      const { data, freshness } = await desk.query(listQuery, { first: ticketsShown })
      nodes = data.tickets.nodes
      troubleSince = null
      render()
      renderFreshness(freshness)
      onRead(freshness)
      return freshness.position ?? 0
    } catch (error) {
      troubleSince ??= Date.now()
      const shown = nodes.length === 0 ? "" : " What you see is as it was then."
      setText(
        at("freshness"),
        `Tickets cannot be read since ${clock(troubleSince, Date.now())}: ${error.message}${shown}`
      )
      at("freshness").dataset.state = "stale"
      throw error
    }
  }

  const refresh = makeReader(read)

  const start = async () => {
    const position = await read().catch(() => 0)
    feed.watch({
      query: changesQuery,
      variables: {},
      position,
      onChange: ({ ticketListChanged }) => {
        onWritten(ticketListChanged.occurredAt)
        refresh(ticketListChanged.position)
      },
      onResync: read,
      onRefused: (sentence) => setText(at("freshness"), `The list is not live: ${sentence}`)
    })
    setInterval(() => refresh(), readAgainMs)
  }

  start()
  return {
    refresh,
    select: (id) => {
      openId = id
      render()
    }
  }
}

const renderFreshness = ({ asOf, source }) => {
  const isLive = source === "live"
  setText(at("freshness"), isLive ? "" : `The database is away: this is the copy of ${clock(asOf, Date.now())}`)
  at("freshness").dataset.state = isLive ? "live" : "stale"
}

const ticketItem = ({ id }) =>
  el(
    "li",
    {},
    el(
      "a",
      { href: `#ticket/${id}` },
      el("span", { className: "subject" }),
      el("span", { className: "status" }),
      el("span", { className: "hint" })
    )
  )

const updateItem = (item, ticket, openId) => {
  const link = item.firstElementChild
  const [subject, status, rest] = link.children
  setText(subject, `#${ticket.number} ${ticket.subject}`)
  setText(status, statusWords(ticket.status))
  status.dataset.status = ticket.status
  const assignee = ticket.assignee === null ? "unassigned" : `with ${person(ticket.assignee)}`
  setText(rest, `${person(ticket.requester)} · ${assignee} · ${clock(ticket.updatedAt, Date.now())}`)
  if (ticket.id === openId) link.setAttribute("aria-current", "true")
  else link.removeAttribute("aria-current")
}
