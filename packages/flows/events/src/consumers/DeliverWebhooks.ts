// Webhooks in two steps. The consumer puts an event into the queue of each endpoint that wants it, which is quick and depends on the
// desk alone; a sender per endpoint empties that queue, with retries over days. So one dead endpoint delays no other and no event.
// What a receiver gets: each event at least once, in no promised order. The same event has the same `webhook-id`, by which a receiver
// leaves out what it has; `position` and `streamversion` tell what came first.
import type { Consumer } from "@holdfast/broker/Consumer"
import { type DueDelivery, WebhookDeliveries } from "@holdfast/database/WebhookDeliveries"
import { backoff, keepRunning } from "@holdfast/resilience/KeepRunning"
import { Webhooks as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Webhook, type WebhookEndpoint, type WebhookRefused, wants } from "@holdfast/webhook/Webhook"
import { Duration, Effect } from "effect"

export const deliverWebhooks = Effect.gen(function* () {
  const { endpoints } = yield* Webhook
  const deliveries = yield* WebhookDeliveries
  return {
    group: "webhooks",
    wants: (envelope) => endpoints.some((endpoint) => wants(endpoint, envelope)),
    handle: (envelope) =>
      deliveries.enqueue(
        endpoints.filter((endpoint) => wants(endpoint, envelope)).map(({ id }) => id),
        envelope
      )
  } satisfies Consumer
})

/** One sender per endpoint, for ever. */
export const sendWebhooks: Effect.Effect<never, never, Webhook | WebhookDeliveries> = Effect.gen(function* () {
  const { endpoints } = yield* Webhook
  yield* Effect.forEach(
    endpoints,
    (endpoint) => keepRunning(`webhook ${endpoint.id}`, Effect.forever(sendPaced(endpoint))),
    { concurrency: Limits.endpointsMax, discard: true }
  )
  return yield* Effect.never
})

const sendPaced = (endpoint: WebhookEndpoint) =>
  Effect.flatMap(sendOnce(endpoint), (count) => (count > 0 ? Effect.void : Effect.sleep(Limits.idleDelay)))

/** How many deliveries were tried. */
export const sendOnce = Effect.fnUntraced(function* (endpoint: WebhookEndpoint) {
  const deliveries = yield* WebhookDeliveries
  const due = yield* deliveries.claim(endpoint.id, Limits.batchMax)
  yield* Effect.forEach(due, (one) => deliver(endpoint, one), { concurrency: Limits.underWayMax, discard: true })
  return due.length
})

const deliver = Effect.fn("DeliverWebhooks.deliver")(function* (endpoint: WebhookEndpoint, due: DueDelivery) {
  const webhook = yield* Webhook
  const deliveries = yield* WebhookDeliveries
  const { correlationId, eventId } = due.envelope
  const sent = yield* Effect.result(webhook.send(endpoint, due.envelope))
  if (sent._tag === "Success") return yield* deliveries.delivered(endpoint.id, eventId)
  const { failure } = sent
  const retryAfter = yield* nextAttempt(failure, due)
  yield* deliveries.failed(endpoint.id, eventId, failure.detail, retryAfter)
  const what = retryAfter === null ? "was given up" : `is tried again in ${Math.ceil(Duration.toSeconds(retryAfter))} s`
  yield* Effect.logWarning(`webhook ${endpoint.id}: the delivery ${what}: ${failure.detail}`).pipe(
    Effect.annotateLogs({ eventId, correlationId })
  )
})

/** Null: no further attempt. */
const nextAttempt = (failure: WebhookRefused | Unavailable, { ageMs, attempts }: DueDelivery) => {
  const permanent = !(failure instanceof Unavailable) && failure.permanent
  return permanent || ageMs > Duration.toMillis(Limits.retryFor)
    ? Effect.succeed(null)
    : Effect.map(backoff(attempts, Limits.retryMin, Limits.retryMax), (pause) =>
        Duration.max(pause, Duration.millis(failure instanceof Unavailable ? failure.retryAfterMs : 0))
      )
}
