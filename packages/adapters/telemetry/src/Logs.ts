// Structured logs on standard output: one JSON object a line with the trace it belongs to, or readable lines for a person. Secrets
// are `Redacted` and print as such.
import { Context, Formatter, Layer, Logger, References, Tracer } from "effect"

export type LogFormat = "json" | "pretty"

const json = (process: string) =>
  Logger.make((options) => {
    const { annotations, cause, level, message, timestamp } = Logger.formatStructured.log(options)
    const span = Context.getOrUndefined(options.fiber.context, Tracer.ParentSpan)
    console.log(
      Formatter.formatJson({
        time: timestamp,
        level,
        process,
        message,
        ...annotations,
        traceId: span?.traceId,
        spanId: span?.spanId,
        cause
      })
    )
  })

export const layer = (process: string, format: LogFormat) =>
  Layer.mergeAll(
    Logger.layer([format === "json" ? json(process) : Logger.consolePretty()]),
    Layer.succeed(References.MinimumLogLevel, "Info")
  )
