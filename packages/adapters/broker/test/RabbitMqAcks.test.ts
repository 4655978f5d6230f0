// Acknowledgements as the server understands them: whatever the order in which deliveries are handled, those are acknowledged and no others.
import { describe, expect, it } from "@effect/vitest"
import { Broker as Limits } from "@holdfast/resilience/Limits"
import { Effect, Schema } from "effect"
import { makeAcks } from "../src/RabbitMqAcks.ts"

/** What a server takes for acknowledged, and how many frames told it. */
const makeServer = (delivered: ReadonlyArray<number>) => {
  const open = new Set(delivered)
  const server = {
    open,
    frames: 0,
    basicAck: ({ deliveryTag = 0, multiple = false }: { deliveryTag?: number; multiple?: boolean }) => {
      server.frames++
      if (!open.has(deliveryTag)) throw new Error(`unknown delivery tag ${deliveryTag}`)
      for (const tag of [...open]) if (tag === deliveryTag || (multiple && tag < deliveryTag)) open.delete(tag)
    }
  }
  return server
}

const refused = (error: unknown) => {
  throw error
}

describe("acknowledgements", () => {
  it.prop(
    "acknowledge what was handled, and nothing else, in whatever order",
    [Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 30 })))],
    ([drawn]) => {
      const handled = new Set(drawn)
      const tags = Array.from({ length: 30 }, (_, index) => index + 1)
      const server = makeServer(tags)
      Effect.runSync(
        Effect.scoped(
          Effect.map(makeAcks(server, refused), (acks) => {
            for (const tag of tags) acks.delivered(tag)
            for (const tag of handled) acks.acknowledge(tag)
          })
        )
      )
      expect([...server.open]).toEqual(tags.filter((tag) => !handled.has(tag)))
    }
  )

  it.live("go to the server as one, after a moment", () =>
    Effect.gen(function* () {
      const server = makeServer([1, 2, 3, 4])
      const acks = yield* makeAcks(server, refused)
      for (const tag of [1, 2, 3, 4]) acks.delivered(tag)
      for (const tag of [2, 1, 3]) acks.acknowledge(tag)
      expect(server.frames).toBe(0)
      yield* Effect.sleep(Limits.ackDelay).pipe(Effect.repeat({ until: () => server.frames > 0 }))
      expect([server.frames, [...server.open]]).toEqual([1, [4]])
    })
  )

  it.effect("that the channel does not take are told", () =>
    Effect.gen(function* () {
      const told: Array<unknown> = []
      const closed = {
        basicAck: () => {
          throw new Error("closed")
        }
      }
      yield* Effect.scoped(
        Effect.gen(function* () {
          const acks = yield* makeAcks(closed, (error) => told.push(error))
          acks.delivered(1)
          acks.acknowledge(1)
        })
      )
      expect(told).toEqual([new Error("closed")])
    })
  )
})
