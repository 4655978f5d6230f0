// The port to outgoing webhooks: an event to an endpoint that an operator configured, signed as Standard Webhooks say. The payload is
// the event as a CloudEvent. Each endpoint fails alone.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Webhooks as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, type Effect, Schema } from "effect"

const isHttpUrl = (text: string) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)

export const WebhookEndpoint = Schema.Struct({
  id: Schema.String.check(Schema.isPattern(/^[A-Za-z0-9_-]{1,64}$/, { expected: "1 to 64 letters, digits, - or _" })),
  url: Schema.String.check(Schema.makeFilter(isHttpUrl, { expected: "an http(s) URL" })),
  /** `whsec_` and 24 to 64 random bytes in base64. */
  secret: Schema.RedactedFromValue(
    Schema.String.check(Schema.isPattern(/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/, { expected: "whsec_ and base64" }))
  ),
  /** Only these event types. Without it: every event that a customer may see. */
  events: Schema.optionalKey(Schema.Array(Schema.String))
})
export type WebhookEndpoint = typeof WebhookEndpoint.Type

export const WebhookEndpoints = Schema.Array(WebhookEndpoint).check(Schema.isMaxLength(Limits.endpointsMax))

/** Internal notes and the like go only to an endpoint that names their type. */
export const wants = (endpoint: WebhookEndpoint, envelope: Envelope): boolean =>
  endpoint.events === undefined
    ? envelope.visibility.audience === "public" && envelope.streamType !== "inbox"
    : endpoint.events.includes(envelope.event._tag)

/** The endpoint answered, or may not be called: not what a breaker is for. */
export class WebhookRefused extends Schema.TaggedError<WebhookRefused>()("WebhookRefused", {
  detail: Schema.String,
  /** Trying again will not help: the endpoint is gone, or its address is one that the desk does not call. */
  permanent: Schema.Boolean
}) {}

export class Webhook extends Context.Service<
  Webhook,
  {
    readonly endpoints: ReadonlyArray<WebhookEndpoint>
    /** Succeeds once the endpoint has answered 2xx. The same event has the same `webhook-id` on every attempt. */
    send(endpoint: WebhookEndpoint, envelope: Envelope): Effect.Effect<void, WebhookRefused | Unavailable>
  }
>()("@holdfast/webhook/Webhook") {}
