// A live feed over graphql-transport-ws, with several subscriptions on one socket, that resumes by itself: after a cut it comes back, to
// whichever gateway answers, each subscription with the newest position it has seen, so no change is missed or shown twice. When that
// position is too old, its owner reads a snapshot, and it goes on from there. It asks the gateway for a sign of life: a line that hangs is
// cut off, too.
import { feedAfter, initialFeed } from "/feedState.js"

const retryMsMin = 500
const retryMsMax = 10_000
const signEveryMs = 3000
// A line that carries an upload may take seconds for a sign of life.
const signsMissedMax = 2
const protocol = "graphql-transport-ws"
const needsToken = new Set([4401, 4403])

/**
 * What one subscription is about; `position` is null where there is nothing to resume.
 * @typedef {{ query: string, variables: object, position: number | null, onChange: (data: object) => void,
 *   onResync: () => Promise<number | null>, onRefused: (sentence: string) => void }} Watched
 */

export class Feed {
  #options
  #watches = new Set()
  #state = initialFeed(Date.now())
  #socket = null
  #isGreeted = false
  #signsDue = 0
  #attempts = 0
  #ids = 0
  #retry
  #sign

  /**
   * @param {{ url: string, token: string, onState: (state: import("./feedState.js").FeedState) => void, onBack: () => void }} options
   */
  constructor(options) {
    this.#options = options
    this.#connect()
    // The line is said to be back: no reason to wait.
    addEventListener("online", () => {
      if (this.#socket === null && this.#state.kind === "cut") this.#connect()
    })
  }

  /** @param {Watched} asked @returns {() => void} ends it */
  watch(asked) {
    const watch = { ...asked, id: null }
    this.#watches.add(watch)
    if (this.#isGreeted) this.#subscribe(watch)
    return () => {
      this.#watches.delete(watch)
      if (watch.id !== null) this.#send({ id: watch.id, type: "complete" })
    }
  }

  /** Says something that nobody answers for; it is lost with the line. */
  tell(query, variables) {
    if (this.#isGreeted) this.#send({ id: String(++this.#ids), type: "subscribe", payload: { query, variables } })
  }

  /** Something newer was read than the feed has told. */
  reached(position) {
    this.#happened({ type: "reached", position })
  }

  #happened(event) {
    this.#state = feedAfter(this.#state, event, Date.now())
    this.#options.onState(this.#state)
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message))
  }

  #connect() {
    clearTimeout(this.#retry)
    clearInterval(this.#sign)
    const { token, url } = this.#options
    const socket = new WebSocket(url, protocol)
    this.#socket = socket
    this.#signsDue = 0
    this.#sign = setInterval(() => this.#askForSign(), signEveryMs)
    socket.onopen = () => this.#send({ type: "connection_init", payload: { authorization: `Bearer ${token}` } })
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return
      this.#signsDue = 0
      this.#receive(JSON.parse(data))
    }
    socket.onclose = ({ code, reason }) => this.#cut(socket, code, reason)
  }

  /** Whatever arrives is a sign of life; to have asked in vain for some time is a cut. */
  #askForSign() {
    if (this.#signsDue >= signsMissedMax) return this.#cut(this.#socket)
    this.#signsDue++
    this.#send({ type: "ping" })
  }

  #cut(broken, code = 0, reason = "") {
    // An old socket that closes late says nothing of the one that took its place.
    if (broken !== this.#socket) return
    this.#socket = null
    this.#isGreeted = false
    clearInterval(this.#sign)
    broken?.close()
    for (const watch of this.#watches) watch.id = null
    if (needsToken.has(code)) return this.#happened({ type: "refused", sentence: refusedWords(reason) })
    this.#happened({ type: "cut" })
    const limitMs = Math.min(retryMsMax, retryMsMin * 2 ** Math.min(this.#attempts++, 8))
    const adviceMs = Math.min(retryMsMax, adviceOf(reason))
    this.#retry = setTimeout(() => this.#connect(), adviceMs + limitMs / 2 + (Math.random() * limitMs) / 2)
  }

  #receive({ id, payload, type }) {
    if (type === "connection_ack") return this.#greeted(payload)
    if (type === "ping") {
      this.#send({ type: "pong" })
      return this.#happened({ type: "told", feed: payload?.feed })
    }
    const watch = [...this.#watches].find((one) => one.id !== null && one.id === id)
    if (watch === undefined) return
    if (type === "next") this.#take(watch, payload)
    if (type === "error") this.#ended(watch, payload)
  }

  #greeted(payload) {
    this.#attempts = 0
    this.#isGreeted = true
    this.#happened({ type: "greeted", feed: payload?.feed })
    for (const watch of this.#watches) this.#subscribe(watch)
    this.#options.onBack()
  }

  #subscribe(watch) {
    watch.id = String(++this.#ids)
    const variables = watch.position === null ? watch.variables : { ...watch.variables, after: watch.position }
    this.#send({ id: watch.id, type: "subscribe", payload: { query: watch.query, variables } })
  }

  #take(watch, { data, extensions }) {
    const position = extensions?.feed?.position
    const isPlaced = typeof position === "number"
    if (isPlaced && watch.position !== null) watch.position = Math.max(watch.position, position)
    watch.onChange(data)
    if (isPlaced) this.reached(position)
  }

  #ended(watch, errors) {
    watch.id = null
    if (errors[0]?.extensions?.code === "RESYNC_REQUIRED") this.#resync(watch)
    else watch.onRefused(errors[0]?.message ?? "It was refused.")
  }

  async #resync(watch) {
    const socket = this.#socket
    try {
      watch.position = await watch.onResync()
      if (socket === this.#socket && this.#watches.has(watch)) this.#subscribe(watch)
    } catch {
      // It is read again with the next socket; closing this one brings that about, after a pause.
      if (socket === this.#socket) socket.close(4000, "resync")
    }
  }
}

const told = (reason) => {
  try {
    return JSON.parse(reason)
  } catch {
    return {}
  }
}
const adviceOf = (reason) => Number(told(reason)?.retryAfterMs ?? 0) || 0
const refusedWords = (reason) =>
  told(reason)?.code === "TOKEN_EXPIRED" ? "The token's time is over" : "The token was refused"
