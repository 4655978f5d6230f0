// The status page: what runs, what is degraded since when, and the newest tickets as they change. The token comes in the address
// after the #, which browsers do not send to anybody; it is kept in this tab only. Everything from the desk is shown as text.
import { openFeed } from "/feed.js"

const statusEveryMs = 2000
const ticketsShown = 20

const listQuery = `query($first: Int!) {
  tickets(list: all, first: $first) {
    nodes { id number subject status updatedAt requester { id name } assignee { id name } }
  }
}`
const changesQuery = `subscription($after: Position) {
  ticketListChanged(list: all, after: $after) { position ticketId }
}`

const at = (id) => document.getElementById(id)

const readToken = () => {
  const given = new URLSearchParams(location.hash.slice(1)).get("token")
  if (given !== null) {
    sessionStorage.setItem("holdfast-token", given)
    history.replaceState(null, "", location.pathname)
  }
  return given ?? sessionStorage.getItem("holdfast-token")
}

const say = (text) => {
  at("notice").textContent = text
  at("notice").hidden = text === ""
}

const cell = (text, attributes = {}) => {
  const made = document.createElement("td")
  made.textContent = text
  Object.assign(made.dataset, attributes)
  return made
}

const row = (cells) => {
  const made = document.createElement("tr")
  made.append(...cells)
  return made
}

const clock = (instant) => (instant === null ? "" : new Date(instant).toLocaleTimeString())
const person = (someone) => (someone === null ? "nobody" : (someone.name ?? someone.id))

const showFeed = (state) => {
  const words = {
    connecting: "Connecting to the live feed…",
    live: "Live",
    stale: "Live feed is behind; nothing is lost"
  }
  at("feed").textContent = words[state]
  at("feed").dataset.state = state
}

const dependencyWords = ({ dependency, since, state }) =>
  state === "up" ? `${dependency}: up` : `${dependency}: ${state} since ${clock(since)}`

const showProcesses = ({ processes }) => {
  at("processes").replaceChildren(
    ...processes.map(({ dependencies, name, since, state }) =>
      row([
        cell(name),
        cell(state, { state }),
        cell(clock(since)),
        cell(dependencies.map(dependencyWords).join(", ") || "nothing")
      ])
    )
  )
}

const watchProcesses = async (token) => {
  try {
    const response = await fetch("/status.json", { headers: { authorization: `Bearer ${token}` } })
    if (response.ok) showProcesses(await response.json())
    else
      at("processes").replaceChildren(row([cell("query-api"), cell(`answered ${response.status}`, { state: "down" })]))
  } catch {
    at("processes").replaceChildren(row([cell("query-api"), cell("does not answer", { state: "down" })]))
  }
  setTimeout(() => watchProcesses(token), statusEveryMs)
}

const showFreshness = ({ asOf, source }) => {
  at("freshness").textContent =
    source === "live" ? `Up to date at ${clock(asOf)}` : `The database is away: this is the copy of ${clock(asOf)}`
  at("freshness").dataset.state = source === "live" ? "live" : "stale"
}

const showTickets = (nodes, changedIds) => {
  at("tickets").replaceChildren(
    ...nodes.map(({ assignee, id, number, requester, status, subject, updatedAt }) => {
      const cells = [`#${number}`, subject, status, person(requester), person(assignee), clock(updatedAt)]
      const made = row(cells.map((text) => cell(text)))
      if (changedIds.has(id)) made.className = "new"
      return made
    })
  )
}

/** Reads the list and tells the position that it holds. */
const readTickets = async (token, changedIds) => {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ query: listQuery, variables: { first: ticketsShown } })
  })
  const { data, errors, extensions } = await response.json()
  if (errors !== undefined) throw new Error(errors[0].message)
  say("")
  showTickets(data.tickets.nodes, changedIds)
  showFreshness(extensions.freshness)
  return extensions.freshness.position
}

/** Changes that arrive close together are read together, one read at a time. */
const makeRefresh = (token) => {
  const changedIds = new Set()
  let wanted = false
  let reading = false
  const run = async () => {
    reading = true
    while (wanted) {
      wanted = false
      const shown = new Set(changedIds)
      await readTickets(token, shown).catch((error) => say(`Tickets cannot be read: ${error.message}`))
      for (const id of shown) changedIds.delete(id)
    }
    reading = false
  }
  return (ticketId) => {
    if (ticketId !== undefined) changedIds.add(ticketId)
    wanted = true
    if (!reading) run()
  }
}

const feedUrl = async () => {
  const response = await fetch("/page.json")
  return (await response.json()).realtimeUrl
}

const start = async (token) => {
  watchProcesses(token)
  const refresh = makeRefresh(token)
  const position = await readTickets(token, new Set()).catch((error) => {
    say(`Tickets cannot be read: ${error.message}`)
    return 0
  })
  setInterval(refresh, statusEveryMs * 5)
  openFeed({
    url: await feedUrl(),
    token,
    query: changesQuery,
    position,
    onChange: ({ ticketListChanged }) => refresh(ticketListChanged.ticketId),
    onState: showFeed,
    onResync: () => readTickets(token, new Set()),
    onRefused: (reason) => say(`The live feed was refused: ${reason} Open this page again with a fresh token.`)
  })
}

const token = readToken()
if (token === null) say("This page needs a token: open it with the address that `holdfast up` prints.")
else start(token).catch((error) => say(`The page could not start: ${error.message}`))
