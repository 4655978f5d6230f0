// Signals on RabbitMQ: a transient fanout exchange, and for each process a queue of its own that goes with its connection, is bounded, and
// keeps nothing for long. The driver's own publisher and consumer are used, which heal by themselves: what is lost meanwhile is meant to be.
import { Presence as Limits } from "@holdfast/resilience/Limits"
import { Duration, Effect, Layer, Queue, Stream } from "effect"
import type { AsyncMessage, Connection } from "rabbitmq-client"
import { openConnection, type RabbitMqOptions } from "./RabbitMqConnection.ts"
import { closing, describe, promise } from "./RabbitMqFailure.ts"
import { Signals } from "./Signals.ts"
import { makeWaiting } from "./SignalsWaiting.ts"

/** A connection of its own: what is on it may be lost, and shall not hold up what may not. */
export const layer = (options: RabbitMqOptions) =>
  Layer.effect(
    Signals,
    Effect.gen(function* () {
      const connection = yield* openConnection(options)
      const exchange = { exchange: `${options.prefix ?? "holdfast"}.signals`, type: "fanout", durable: false } as const
      const publisher = yield* Effect.acquireRelease(
        Effect.sync(() => connection.createPublisher({ confirm: false, exchanges: [exchange] })),
        (opened) => closing(() => opened.close())
      )
      // Without a type of content the driver hands out the bytes as they are.
      const to = { exchange: exchange.exchange, routingKey: "", durable: false }
      const publish = yield* makeWaiting((signal) =>
        Effect.asVoid(promise(() => publisher.send(to, Buffer.from(signal))))
      )
      return Signals.of({ publish, received: received(connection, exchange) })
    })
  )

type Exchange = { readonly exchange: string; readonly type: "fanout"; readonly durable: false }

const queueArguments = {
  "x-max-length": Limits.signalsWaitingMax,
  "x-overflow": "drop-head" as const,
  "x-message-ttl": Duration.toMillis(Limits.signalAgeMax)
}

const received = (connection: Connection, exchange: Exchange): Stream.Stream<string> =>
  Stream.callback<string>(
    Effect.fnUntraced(function* (arrived) {
      const runFork = Effect.runForkWith(yield* Effect.context())
      const consumer = yield* Effect.acquireRelease(
        Effect.sync(() =>
          connection.createConsumer(
            {
              // The server names it, so that a process which comes back is not in the way of its own last queue.
              queue: "",
              noAck: true,
              queueOptions: { exclusive: true, autoDelete: true, durable: false, arguments: queueArguments },
              exchanges: [exchange],
              queueBindings: [{ exchange: exchange.exchange, routingKey: "" }]
            },
            (message) => {
              Queue.offerUnsafe(arrived, textOf(message))
            }
          )
        ),
        (opened) => closing(() => opened.close())
      )
      consumer.on("error", (error) => runFork(Effect.logDebug("listening to signals broke off", describe(error))))
      return yield* Effect.never
    }),
    { bufferSize: Limits.signalsWaitingMax, strategy: "sliding" }
  )

const textOf = ({ body }: AsyncMessage): string => (Buffer.isBuffer(body) ? body.toString("utf8") : "")
