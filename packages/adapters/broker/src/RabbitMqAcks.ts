// Acknowledgements of one channel, gathered for a moment: those of deliveries that came one after the other go to the server as one.
import { Broker as Limits } from "@holdfast/resilience/Limits"
import { Duration, Effect } from "effect"
import type { Channel } from "rabbitmq-client"

export interface Acks {
  /** In the order of the server. */
  readonly delivered: (deliveryTag: number) => void
  readonly acknowledge: (deliveryTag: number) => void
}

/** What is not sent before the scope closes comes again. `fail` is told that the channel takes nothing any more. */
export const makeAcks = (channel: Pick<Channel, "basicAck">, fail: (error: unknown) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => new GatheredAcks(channel, fail)),
      (acks) => Effect.sync(() => acks.flush())
    ),
    (acks): Acks => acks
  )

class GatheredAcks implements Acks {
  readonly #channel: Pick<Channel, "basicAck">
  readonly #fail: (error: unknown) => void
  /** Delivered and not acknowledged to the server, ascending. True: handled. */
  readonly #open = new Map<number, boolean>()
  #timer: NodeJS.Timeout | null = null

  constructor(channel: Pick<Channel, "basicAck">, fail: (error: unknown) => void) {
    this.#channel = channel
    this.#fail = fail
  }

  delivered(deliveryTag: number): void {
    this.#open.set(deliveryTag, false)
  }

  acknowledge(deliveryTag: number): void {
    this.#open.set(deliveryTag, true)
    this.#timer ??= setTimeout(() => this.flush(), Duration.toMillis(Limits.ackDelay))
  }

  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const handled = [...this.#open].filter(([, isHandled]) => isHandled).map(([deliveryTag]) => deliveryTag)
    const [firstOpen = Number.POSITIVE_INFINITY] = [...this.#open].find(([, isHandled]) => !isHandled) ?? []
    const upTo = handled.findLast((deliveryTag) => deliveryTag < firstOpen)
    for (const deliveryTag of handled) this.#open.delete(deliveryTag)
    try {
      if (upTo !== undefined) this.#channel.basicAck({ deliveryTag: upTo, multiple: true })
      for (const deliveryTag of handled) if (deliveryTag > firstOpen) this.#channel.basicAck({ deliveryTag })
    } catch (error) {
      this.#fail(error)
    }
  }
}
