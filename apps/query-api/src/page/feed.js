// A live feed over graphql-transport-ws that resumes by itself: after a cut it comes back, to whichever gateway answers, with the
// newest position it has seen, so no change is missed or shown twice. When that position is too old to resume from, the owner
// reads a snapshot and the feed goes on from there.

const retryMsMin = 500
const retryMsMax = 10_000
const protocol = "graphql-transport-ws"

/**
 * @param {{ url: string, token: string, query: string, position: number, onChange: (data: object) => void,
 *   onState: (state: "connecting" | "live" | "stale") => void, onResync: () => Promise<number>, onRefused: (reason: string) => void }} options
 */
export const openFeed = (options) => {
  let position = options.position
  let attempts = 0

  const later = () => {
    const limit = Math.min(retryMsMax, retryMsMin * 2 ** attempts++)
    setTimeout(connect, limit / 2 + (crypto.getRandomValues(new Uint16Array(1))[0] / 65_536) * (limit / 2))
  }

  const learn = (feed) => {
    if (typeof feed?.position === "number") position = Math.max(position, feed.position)
    if (feed?.state === "live" || feed?.state === "stale") options.onState(feed.state)
  }

  const resync = async (socket) => {
    position = await options.onResync()
    socket.close(1000, "resync")
  }

  const connect = () => {
    const socket = new WebSocket(options.url, protocol)
    const send = (message) => socket.send(JSON.stringify(message))
    options.onState("connecting")
    socket.onopen = () => send({ type: "connection_init", payload: { authorization: `Bearer ${options.token}` } })
    socket.onmessage = ({ data }) => {
      const { payload, type } = JSON.parse(data)
      if (type === "connection_ack") {
        attempts = 0
        learn({ state: "live", ...payload?.feed, position: undefined })
        send({ id: "changes", type: "subscribe", payload: { query: options.query, variables: { after: position } } })
      }
      if (type === "ping") {
        learn(payload?.feed)
        send({ type: "pong" })
      }
      if (type === "next") {
        options.onChange(payload.data)
        learn(payload.extensions?.feed)
      }
      if (type === "error" && payload[0]?.extensions?.code === "RESYNC_REQUIRED")
        resync(socket).catch(() => socket.close())
      else if (type === "error") options.onRefused(payload[0]?.message ?? "The feed was refused.")
    }
    socket.onclose = ({ code, reason }) => {
      if (code === 4401 || code === 4403) return options.onRefused(reason || "The token was refused.")
      later()
    }
  }

  connect()
}
