// What reactions write: the hourly volume and the queues of webhooks.
import { assert, layer } from "@effect/vitest"
import { EventId } from "@holdfast/contracts/Ids"
import { label, sequence } from "@holdfast/testkit/Envelopes"
import { commitPositioned } from "@holdfast/testkit/EventRows"
import { DateTime, Duration, Effect } from "effect"
import { SqlClient } from "effect/sql"
import { VolumeHours } from "../src/VolumeHours.ts"
import { WebhookDeliveries } from "../src/WebhookDeliveries.ts"
import { coreForTests } from "./CoreForTests.ts"

const [first, second] = sequence("ab")
const hour = DateTime.makeUnsafe("2026-11-22T10:00:00Z")

layer(coreForTests, { excludeTestServices: true, timeout: Duration.seconds(30) })("reactions", (it) => {
  it.effect("VolumeHours counts an event once, however often it is delivered", () =>
    Effect.gen(function* () {
      const hours = yield* VolumeHours
      const sql = yield* SqlClient.SqlClient
      const one = EventId.make(first?.eventId ?? "")
      const two = EventId.make(second?.eventId ?? "")
      const three = EventId.make("00000002-0000-7000-8000-00000000ffff")
      const delta = { hour, opened: 1, solved: 0, replies: 2 }
      for (const ids of [[one], [one, two, two], [two]]) yield* hours.add(ids.map((eventId) => ({ eventId, delta })))
      yield* hours.add([{ eventId: three, delta: { ...delta, hour: DateTime.add(hour, { hours: 1 }) } }])
      assert.deepStrictEqual(yield* sql`SELECT opened, solved, replies FROM read.volume_hourly ORDER BY hour`, [
        { opened: 2, solved: 0, replies: 4 },
        { opened: 1, solved: 0, replies: 2 }
      ])
    })
  )

  it.effect("WebhookDeliveries keeps a queue per endpoint; what is claimed is nobody else's", () =>
    Effect.gen(function* () {
      assert.isDefined(first)
      assert.isDefined(second)
      const deliveries = yield* WebhookDeliveries
      yield* commitPositioned([first, second])
      for (const one of [first, second, first]) yield* deliveries.enqueue(["x", "y"], one)
      const claimed = yield* deliveries.claim("x", 10)
      assert.deepStrictEqual(
        claimed.map(({ envelope }) => label(envelope)),
        ["a1", "b1"]
      )
      assert.deepStrictEqual(yield* deliveries.claim("x", 10), [])
      assert.strictEqual((yield* deliveries.claim("y", 1)).length, 1)
    })
  )

  it.effect(
    "WebhookDeliveries hands out again what failed, once its time has come, and never what was delivered or given up",
    () =>
      Effect.gen(function* () {
        assert.isDefined(first)
        assert.isDefined(second)
        const deliveries = yield* WebhookDeliveries
        yield* commitPositioned([first, second])
        for (const one of [first, second]) yield* deliveries.enqueue(["z", "gone"], one)
        yield* deliveries.failed("z", first.eventId, "answered 500", Duration.zero)
        yield* deliveries.delivered("z", second.eventId)
        yield* deliveries.failed("gone", first.eventId, "answered 410", null)
        yield* deliveries.failed("gone", second.eventId, "answered 500", Duration.hours(1))
        const claimed = yield* deliveries.claim("z", 10)
        assert.deepStrictEqual(
          claimed.map(({ attempts, envelope }) => [label(envelope), attempts]),
          [["a1", 1]]
        )
        assert.deepStrictEqual(yield* deliveries.claim("gone", 10), [])
      })
  )

  it.effect("forgets what is old and done, and nothing else", () =>
    Effect.gen(function* () {
      const hours = yield* VolumeHours
      const deliveries = yield* WebhookDeliveries
      const sql = yield* SqlClient.SqlClient
      yield* sql`DELETE FROM read.inbox`
      yield* sql`DELETE FROM core.webhook_delivery`
      yield* sql`INSERT INTO read.inbox (group_name, event_id, handled_at) VALUES
        ('analytics', gen_random_uuid(), now() - interval '31 days'), ('analytics', gen_random_uuid(), now())`
      yield* sql`INSERT INTO core.webhook_delivery (endpoint, event_id, position, state, created_at) VALUES
        ('x', gen_random_uuid(), 1, 'delivered', now() - interval '31 days'),
        ('x', gen_random_uuid(), 2, 'pending', now() - interval '31 days'),
        ('x', gen_random_uuid(), 3, 'delivered', now())`
      assert.deepStrictEqual([yield* hours.sweep, yield* deliveries.sweep], [1, 1])
      assert.deepStrictEqual([yield* hours.sweep, yield* deliveries.sweep], [0, 0])
    })
  )
})
