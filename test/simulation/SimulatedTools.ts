// The tools of the file pipeline and the receivers of webhooks, behind the network. The scanner judges by the desk's own policy, so that a
// verdict follows from the bytes; the converter makes a recognisable clean copy.
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Converter } from "@holdfast/converter/Converter"
import { Converter as ConverterLimits, Scanner as ScannerLimits, Webhooks } from "@holdfast/resilience/Limits"
import type { Inspector } from "@holdfast/scanner/Inspector"
import { Scanner } from "@holdfast/scanner/Scanner"
import * as ScannerEmbedded from "@holdfast/scanner/ScannerEmbedded"
import { type Webhook, type WebhookEndpoint, WebhookRefused } from "@holdfast/webhook/Webhook"
import { Context, Effect, Layer, Redacted, Stream } from "effect"
import { simulatedFiles } from "./SimulatedGlobals.ts"
import type { SimulatedProcess } from "./SimulatedProcess.ts"
import { guarded, type SimulatedServer } from "./SimulatedServer.ts"

export const simulatedScanner = Effect.fnUntraced(function* (process: SimulatedProcess, server: SimulatedServer) {
  const policy = Context.get(yield* Layer.build(ScannerEmbedded.layer), Scanner)
  const { call } = yield* guarded(process, server, {
    dependency: "scanner",
    deadline: ScannerLimits.baseDeadline,
    concurrencyMax: ScannerLimits.scansAtOnceMax,
    acquireDeadline: ScannerLimits.acquireDeadline
  })
  const scanner: Scanner["Service"] = {
    scan: Effect.fnUntraced(function* (request) {
      const chunks = yield* Stream.runCollect(request.content)
      yield* call(() => true)
      return yield* policy.scan({ ...request, content: Stream.fromIterable(chunks) })
    }),
    tool: Effect.andThen(
      call(() => true),
      policy.tool
    )
  }
  return scanner
})

/** Nothing that these customers send has anything inside. */
export const simulatedInspector: Inspector["Service"] = {
  inspect: () => Effect.succeed({ _tag: "Passed", tool: { name: "simulated", version: "1" } })
}

const converterTool = { name: "simulated", version: "1" }

/** What a clean copy begins with. */
export const cleanCopy = "clean copy of "

export const simulatedConverter = Effect.fnUntraced(function* (process: SimulatedProcess, server: SimulatedServer) {
  const { call } = yield* guarded(process, server, {
    dependency: "converter",
    deadline: ConverterLimits.deadline,
    concurrencyMax: ConverterLimits.atOnceMax,
    acquireDeadline: ConverterLimits.acquireDeadline
  })
  const converter: Converter["Service"] = {
    convert: (path, mediaType) =>
      call(() => {
        const bytes = Buffer.concat([Buffer.from(cleanCopy), simulatedFiles.get(path) ?? new Uint8Array()])
        const outputs = [{ kind: "original" as const, mediaType, bytes }]
        return { _tag: "Converted" as const, tool: converterTool, outputs }
      })
  }
  return converter
})

const secret = Redacted.make(`whsec_${"A".repeat(44)}`)
export const publicEndpoint: WebhookEndpoint = { id: "customers", url: "http://customers.test/", secret }
export const internalEndpoint: WebhookEndpoint = {
  id: "colleagues",
  url: "http://colleagues.test/",
  secret,
  events: ["NoteAdded", "TicketOpened"]
}

/** `received` is the other side. */
export const simulatedWebhook = Effect.fnUntraced(function* (
  process: SimulatedProcess,
  server: SimulatedServer,
  received: (endpoint: WebhookEndpoint, envelope: Envelope) => void
) {
  const { call } = yield* guarded(process, server, {
    dependency: "webhook",
    deadline: Webhooks.requestDeadline,
    concurrencyMax: Webhooks.underWayMax,
    acquireDeadline: Webhooks.acquireDeadline
  })
  const webhook: Webhook["Service"] = {
    endpoints: [publicEndpoint, internalEndpoint],
    send: Effect.fnUntraced(function* (endpoint, envelope) {
      const isWell = yield* call(() => {
        if (process.world.seed.chance(server.faults.lostRequest)) return false
        received(endpoint, envelope)
        return true
      })
      if (!isWell) return yield* new WebhookRefused({ detail: "500", permanent: false })
    })
  }
  return webhook
})
