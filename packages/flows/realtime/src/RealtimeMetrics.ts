// What an operator sees of the gateway.
import { Metric } from "effect"

const gauge = (name: string, description: string) => {
  const metric = Metric.gauge(name, { description })
  return (value: number) => Metric.update(metric, value)
}

export const connections = gauge("holdfast_realtime_connections", "Open sockets and event streams")
export const groups = gauge("holdfast_realtime_groups", "Distinct subscriptions: operation, variables and audience")
export const windowEvents = gauge("holdfast_realtime_window_events", "Events that a client can still resume from")
export const feedLive = gauge(
  "holdfast_realtime_feed_live",
  "1 while events arrive as they happen, 0 while the feed is stale"
)
