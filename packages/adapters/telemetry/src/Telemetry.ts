// Traces to an OpenTelemetry collector, when there is one. Without one, spans keep their ids, so that logs and events can still be
// followed. A collector that is away costs nothing but its own traces: spans wait in a bounded queue and are dropped beyond it, and
// stopping does not wait for it.
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { Telemetry as Limits } from "@holdfast/resilience/Limits"
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http"
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Duration, Layer, Option } from "effect"

export interface TelemetryOptions {
  /** The process, such as `command-api`. */
  readonly serviceName: string
  /** Base URL of an OTLP/HTTP collector; `/v1/traces` is added. */
  readonly otlpUrl: Option.Option<string>
}

export const layer = ({ otlpUrl, serviceName }: TelemetryOptions): Layer.Layer<never> =>
  Option.match(otlpUrl, {
    onNone: () => Layer.empty,
    onSome: (url) => exporting(serviceName, url)
  })

const exporting = (serviceName: string, url: string) =>
  NodeSdk.layer(() => ({
    resource: { serviceName, attributes: { "service.namespace": "holdfast" } },
    spanProcessor: new BatchSpanProcessor(
      new OTLPTraceExporter({
        url: `${url.replace(/\/+$/, "")}/v1/traces`,
        timeoutMillis: Duration.toMillis(Limits.exportDeadline)
      }),
      {
        maxQueueSize: Limits.queueSpansMax,
        maxExportBatchSize: Limits.batchSpansMax,
        scheduledDelayMillis: Duration.toMillis(Limits.exportInterval),
        exportTimeoutMillis: Duration.toMillis(Limits.exportDeadline)
      }
    ),
    shutdownTimeout: Limits.stopDeadline
  }))
