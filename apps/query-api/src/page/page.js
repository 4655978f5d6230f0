// The live page: what runs, the newest tickets, one ticket with its conversation and files, a place to write and to upload. The token comes
// in the address after the #, which browsers do not send to anybody, or is pasted; it is kept in this tab only. Everything from the desk is
// shown as text.
import { writingAway } from "/boardState.js"
import { openBoard } from "/boardView.js"
import { openDesk } from "/desk.js"
import { at, kept, setText, show } from "/elements.js"
import { Feed } from "/feed.js"
import { feedWords } from "/feedState.js"
import { showUploads } from "/filesView.js"
import { openList } from "/listView.js"
import { openInbox, openPresence } from "/people.js"
import { ReplyView } from "/replyView.js"
import { TicketView } from "/ticketView.js"
import { Uploads } from "/uploads.js"
import { clock } from "/words.js"

const meQuery = "{ me { id name role } }"
const startAgainMs = 3000

const readToken = () => {
  const given = new URLSearchParams(location.hash.slice(1)).get("token")
  if (given !== null) {
    kept.write("token", given)
    history.replaceState(null, "", location.pathname)
  }
  return given ?? kept.read("token")
}

const say = (text) => {
  setText(at("notice"), text)
  show(at("notice"), text !== "")
}

const askForToken = (why) => {
  say(why)
  show(at("token-form"), true)
}

const now = (instant) => clock(instant, Date.now())

const showFeed = (state) => {
  setText(at("feed"), feedWords(state, now))
  at("feed").dataset.state = state.kind
  if (state.kind === "refused") askForToken(`${state.sentence}. What you wrote is kept; give a fresh token to go on.`)
}

const ticketInAddress = () => /^#ticket\/([0-9a-f-]{36})$/.exec(location.hash)?.[1] ?? null

/** What everything below tells each other: since when writing is refused, and that it is not any more. */
const openWriting = () => {
  let processes = []
  let lastWrittenMs = 0
  let changed = () => {}
  return {
    onChanged: (heard) => {
      changed = heard
    },
    board: (told) => {
      processes = told
      changed()
    },
    written: (occurredAt) => {
      lastWrittenMs = Math.max(lastWrittenMs, Date.parse(occurredAt))
      changed()
    },
    words: () => {
      const away = writingAway(processes, lastWrittenMs)
      return away === null ? null : `${now(away.since)}: ${away.sentence}`
    }
  }
}

const start = (desk, viewer, token) => {
  setText(at("viewer"), `${viewer.name ?? viewer.id}, ${viewer.role}`)
  const isStaff = viewer.role !== "customer"
  for (const one of document.querySelectorAll("[data-staff]")) show(one, isStaff)
  show(at("desk"), true)

  const writing = openWriting()
  const parts = {}
  const feed = new Feed({
    url: desk.doors.realtimeUrl,
    token,
    onState: showFeed,
    onBack: () => {
      parts.list?.refresh()
      parts.ticket?.mend()
    }
  })
  const presence = openPresence({ feed, viewer })
  const reply = new ReplyView({ desk, away: writing.words, onTyping: presence.typing })
  writing.onChanged(() => reply.refresh())
  const uploads = new Uploads({ desk, onChange: () => renderUploads() })
  const renderUploads = () => {
    const ticketId = ticketInAddress()
    if (ticketId !== null) showUploads(uploads.list(ticketId), uploads)
  }

  parts.ticket = new TicketView({
    desk,
    feed,
    onMessage: (ticketId, messageId) => reply.seen(ticketId, messageId),
    onWritten: writing.written,
    onAttached: (fileId) => {
      uploads.forget(fileId)
      renderUploads()
    }
  })
  parts.list = openList({
    desk,
    feed,
    onWritten: writing.written,
    onRead: ({ position, source }) => {
      feed.reached(position ?? 0)
      if (source === "live") parts.ticket.mend()
    }
  })
  if (isStaff) openBoard({ desk, onBoard: writing.board })
  openInbox({ desk, feed })

  at("file").addEventListener("change", ({ target }) => {
    const audience = at("file-internal").checked ? "internal" : "public"
    for (const file of target.files) uploads.add(file, ticketInAddress(), audience)
    target.value = ""
  })
  followAddress({ ...parts, presence, reply, renderUploads })
}

const followAddress = ({ list, presence, renderUploads, reply, ticket }) => {
  const follow = () => {
    const id = ticketInAddress()
    list.select(id)
    document.body.dataset.open = String(id !== null)
    if (id === null) {
      const former = ticket.openId
      ticket.close()
      presence.close()
      if (former !== null) document.querySelector(`#tickets a[href="#ticket/${former}"]`)?.focus()
      return
    }
    if (id === ticket.openId) return
    reply.open(id)
    presence.open(id)
    renderUploads()
    ticket.open(id)
  }
  addEventListener("hashchange", follow)
  // The address says which ticket is open, so this link may not change it.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault()
    at("ticket").focus()
  })
  follow()
}

/** Until the desk says who the visitor is; a desk that cannot answer just now is asked again. */
const begin = async (token) => {
  try {
    const response = await fetch("/page.json")
    const desk = openDesk(await response.json(), token)
    const { data } = await desk.query(meQuery)
    say("")
    start(desk, data.me, token)
  } catch (error) {
    if (error.message === "A valid bearer token is needed.") return askForToken("The token was refused.")
    say(`The desk cannot be reached: ${error.message} Trying again.`)
    setTimeout(() => begin(token), startAgainMs)
  }
}

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault()
  kept.write("token", at("token").value.trim())
  location.reload()
})

addEventListener("hashchange", () => {
  // Another link with a token was opened in this tab.
  if (location.hash.startsWith("#token=")) {
    readToken()
    location.reload()
  }
})

const token = readToken()
if (token === null) askForToken("")
else begin(token)
