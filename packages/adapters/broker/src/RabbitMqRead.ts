// The event in a message. Each event comes once for each group of consumers in a process, so what was read lately is kept.
import { decodeEnvelope } from "@holdfast/contracts/CloudEvent"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Broker as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Result } from "effect"
import type { AsyncMessage } from "rabbitmq-client"
import { unavailable } from "./RabbitMqFailure.ts"

export type ReadMessage = (message: AsyncMessage) => Result.Result<Envelope, Unavailable>

export const makeReadMessage = (): ReadMessage => {
  const kept = new Map<string, Envelope>()
  return (message) => {
    const text = Buffer.isBuffer(message.body) ? message.body.toString("utf8") : ""
    const known = kept.get(text)
    if (known !== undefined) return Result.succeed(known)
    const read = Result.mapError(decodeEnvelope(text), (error) =>
      unavailable("refused", `event ${message.messageId ?? "without id"} cannot be read here: ${error.detail}`)
    )
    if (Result.isSuccess(read)) {
      kept.set(text, read.success)
      const oldest = kept.size > Limits.readKeptMax ? kept.keys().next().value : undefined
      if (oldest !== undefined) kept.delete(oldest)
    }
    return read
  }
}
