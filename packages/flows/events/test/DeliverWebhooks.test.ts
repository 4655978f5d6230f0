import { assert, describe, it } from "@effect/vitest"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { type DueDelivery, WebhookDeliveries } from "@holdfast/database/WebhookDeliveries"
import { Webhooks } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { label, sequence } from "@holdfast/testkit/Envelopes"
import { Webhook, type WebhookEndpoint, WebhookRefused } from "@holdfast/webhook/Webhook"
import { Duration, Effect, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { deliverWebhooks, sendOnce, sendWebhooks } from "../src/consumers/DeliverWebhooks.ts"

const endpoint = (id: string, events?: ReadonlyArray<string>): WebhookEndpoint => ({
  id,
  url: `https://${id}.example`,
  secret: Redacted.make("whsec_"),
  ...(events === undefined ? {} : { events })
})

interface Row {
  readonly endpoint: string
  readonly due: DueDelivery
  state: "pending" | "delivered" | "failed"
  retryAfterMs: number
}

const makeWorld = (
  endpoints: ReadonlyArray<WebhookEndpoint>,
  answer: (endpointId: string) => Effect.Effect<void, WebhookRefused | Unavailable>
) => {
  const rows: Array<Row> = []
  const rowOf = (id: string, eventId: string) =>
    rows.find((row) => row.endpoint === id && row.due.envelope.eventId === eventId)
  const change = (id: string, eventId: string, state: Row["state"], retryAfterMs: number) =>
    Effect.sync(() => {
      const row = rowOf(id, eventId)
      if (row !== undefined) Object.assign(row, { state, retryAfterMs })
    })
  const add = (id: string, envelope: Envelope, ageMs = 0) => {
    if (rowOf(id, envelope.eventId) !== undefined) return
    rows.push({ endpoint: id, due: { envelope, attempts: 0, ageMs }, state: "pending", retryAfterMs: 0 })
  }
  const layer = Layer.merge(
    Layer.succeed(WebhookDeliveries, {
      sweep: Effect.succeed(0),
      enqueue: (ids, envelope) =>
        Effect.sync(() => {
          for (const id of ids) add(id, envelope)
        }),
      claim: (id) =>
        Effect.sync(() =>
          rows
            .filter((row) => row.endpoint === id && row.state === "pending" && row.retryAfterMs === 0)
            .map(({ due }) => due)
        ),
      delivered: (id, eventId) => change(id, eventId, "delivered", 0),
      failed: (id, eventId, _error, retryAfter) =>
        change(id, eventId, retryAfter === null ? "failed" : "pending", Duration.toMillis(retryAfter ?? Duration.zero))
    }),
    Layer.succeed(Webhook, { endpoints, send: ({ id }) => answer(id) })
  )
  const states = () => rows.map((row) => `${row.endpoint} ${label(row.due.envelope)} ${row.state}`)
  return { add, rows, layer, states }
}

const [first, second] = sequence("ab")

/** As the runner does. */
const hand = (envelope: Envelope) =>
  Effect.flatMap(deliverWebhooks, ({ handle, wants }) => (wants(envelope) ? handle(envelope) : Effect.void))

describe("DeliverWebhooks", () => {
  it.effect("queues an event once for each endpoint that wants it, however often it is delivered", () =>
    Effect.gen(function* () {
      assert.isDefined(first)
      const { layer, states } = makeWorld([endpoint("all"), endpoint("other", ["TicketOpened"])], () => Effect.void)
      yield* Effect.provide(Effect.andThen(hand(first), hand(first)), layer)
      assert.deepStrictEqual(states(), ["all a1 pending"])
    })
  )

  it.effect("keeps internal events from an endpoint that did not name them", () =>
    Effect.gen(function* () {
      assert.isDefined(first)
      const internal = { ...first, visibility: { ...first.visibility, audience: "internal" as const } }
      const { layer, states } = makeWorld([endpoint("all"), endpoint("named", ["TicketReplied"])], () => Effect.void)
      yield* Effect.provide(hand(internal), layer)
      assert.deepStrictEqual(states(), ["named a1 pending"])
    })
  )

  it.effect("wants no event that no endpoint wants", () =>
    Effect.gen(function* () {
      assert.isDefined(first)
      const { layer } = makeWorld([endpoint("other", ["TicketOpened"])], () => Effect.void)
      const { wants } = yield* Effect.provide(deliverWebhooks, layer)
      assert.isFalse(wants(first))
    })
  )

  it.effect("delays nobody when one endpoint never answers", () =>
    Effect.gen(function* () {
      assert.isDefined(first)
      assert.isDefined(second)
      const endpoints = [endpoint("dead"), endpoint("well")]
      const { add, layer, states } = makeWorld(endpoints, (id) => (id === "dead" ? Effect.never : Effect.void))
      for (const { id } of endpoints) for (const one of [first, second]) add(id, one)
      yield* Effect.forkScoped(Effect.provide(sendWebhooks, layer))
      yield* TestClock.adjust(Webhooks.idleDelay)
      assert.deepStrictEqual(states(), ["dead a1 pending", "dead b1 pending", "well a1 delivered", "well b1 delivered"])
    })
  )

  it.effect("tries again later what an endpoint refused", () =>
    Effect.gen(function* () {
      assert.isDefined(first)
      const refused = Effect.fail(new WebhookRefused({ detail: "answered 500", permanent: false }))
      const { add, layer, rows } = makeWorld([endpoint("ill")], () => refused)
      add("ill", first)
      yield* Effect.provide(sendOnce(endpoint("ill")), layer)
      assert.strictEqual(rows[0]?.state, "pending")
      assert.isAbove(rows[0]?.retryAfterMs ?? 0, 0)
    })
  )

  it.effect("gives up what an endpoint never wants, and what has been tried for days", () =>
    Effect.gen(function* () {
      assert.isDefined(first)
      assert.isDefined(second)
      const gone = Effect.fail(new WebhookRefused({ detail: "answered 410", permanent: true }))
      const refused = Effect.fail(new WebhookRefused({ detail: "answered 500", permanent: false }))
      const { add, layer, states } = makeWorld([endpoint("gone"), endpoint("ill")], (id) =>
        id === "gone" ? gone : refused
      )
      add("gone", first)
      add("ill", second, Duration.toMillis(Webhooks.retryFor) + 1)
      yield* Effect.provide(sendOnce(endpoint("gone")), layer)
      yield* Effect.provide(sendOnce(endpoint("ill")), layer)
      assert.deepStrictEqual(states(), ["gone a1 failed", "ill b1 failed"])
    })
  )
})
