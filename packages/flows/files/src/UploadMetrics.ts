// What an operator sees of uploads: the bytes that come, and what is refused and why. Reasons are the tags of our own answers.
import { Effect, Metric } from "effect"

const receivedBytes = Metric.counter("holdfast_upload_received_bytes_total", {
  description: "Bytes of uploads that were taken from clients",
  incremental: true
})
const refusals = Metric.counter("holdfast_upload_refusals_total", {
  description: "Upload requests refused, by the tag of the answer",
  incremental: true
})
const refusedBytes = Metric.counter("holdfast_upload_refused_bytes_total", {
  description: "Bytes that refused requests announced, by the tag of the answer",
  incremental: true
})

export const received = (sizeBytes: number) => Metric.update(receivedBytes, sizeBytes)

export const refused = (reason: string, sizeBytes: number) =>
  Effect.andThen(
    Metric.update(Metric.withAttributes(refusals, { reason }), 1),
    sizeBytes === 0 ? Effect.void : Metric.update(Metric.withAttributes(refusedBytes, { reason }), sizeBytes)
  )
