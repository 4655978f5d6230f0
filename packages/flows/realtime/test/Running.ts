// One gateway for one test, with three replies to the first ticket in its log; in the end nothing may be left of what the test did to it.
import { Effect } from "effect"
import { vi } from "vitest"
import { BrokerDouble } from "./BrokerDouble.ts"
import { envelope } from "./Events.ts"
import { startGateway, type World } from "./World.ts"

export const reply = (position: number) => envelope({ type: "TicketReplied", position })

/** On a busy machine. */
export const patient = { timeout: 180_000 }

export const withGateway = (test: (world: World, broker: BrokerDouble) => Promise<void>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const broker = new BrokerDouble()
      broker.publish(reply(1), reply(2), reply(3))
      const world = yield* startGateway(broker)
      yield* Effect.repeat(world.gateway.status, { until: ({ feed }) => feed.position === 3 && feed.state === "live" })
      yield* Effect.promise(() => test(world, broker))
      yield* Effect.promise(() => emptied(world))
    })
  )

export const emptied = ({ gateway }: World) =>
  vi.waitUntil(async () => {
    const { connections, groups } = await Effect.runPromise(gateway.status)
    return connections + groups === 0
  }, patient)
