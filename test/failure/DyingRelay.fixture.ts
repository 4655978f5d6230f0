// A relay that is killed at the worst moment: the broker has confirmed a batch and the cursor has not moved.
import { Broker } from "@holdfast/broker/Broker"
import { publishOnce } from "@holdfast/events/Relay"
import { Effect, Layer, Redacted } from "effect"
import { eventsOn } from "./EventWorld.ts"

const [database = "", rabbitMq = "", prefix = ""] = process.argv.slice(2)
const servers = eventsOn({ database: Redacted.make(database), rabbitMq: Redacted.make(rabbitMq), prefix })

const deadly = Layer.effect(
  Broker,
  Effect.map(Broker, (broker) =>
    Broker.of({
      ...broker,
      publish: (envelopes) =>
        Effect.andThen(
          broker.publish(envelopes),
          Effect.sync(() => void process.kill(process.pid, "SIGKILL"))
        )
    })
  )
)

await Effect.runPromise(publishOnce.pipe(Effect.provide(deadly), Effect.provide(servers)))
