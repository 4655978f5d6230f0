// What a consumer group is doing, for operators. How far it lags is the log's position less the group's.
import { Effect, Metric } from "effect"
import type { ConsumerGroup } from "./Broker.ts"

const handled = Metric.counter("holdfast_consumer_handled_total", { description: "Events handled", incremental: true })
const retried = Metric.counter("holdfast_consumer_retried_total", {
  description: "Attempts repeated",
  incremental: true
})
const parked = Metric.counter("holdfast_consumer_parked_total", { description: "Events parked", incremental: true })
const position = Metric.gauge("holdfast_consumer_position", { description: "Highest position handled or parked" })

export const makeConsumerMetrics = (group: ConsumerGroup) => {
  const of = <I, S>(metric: Metric.Metric<I, S>) => Metric.withAttributes(metric, { group })
  const [handledHere, retriedHere, parkedHere, positionHere] = [of(handled), of(retried), of(parked), of(position)]
  let highest = 0
  return {
    retried: Metric.update(retriedHere, 1),
    parked: Metric.update(parkedHere, 1),
    handled: Metric.update(handledHere, 1),
    settled: (at: number) =>
      Effect.suspend(() => {
        highest = Math.max(highest, at)
        return Metric.update(positionHere, highest)
      })
  }
}
export type ConsumerMetrics = ReturnType<typeof makeConsumerMetrics>
