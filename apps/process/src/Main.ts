// Starts a process and ends it well. Settings, logs, traces and health are there for the layer that it runs; what cannot start says why in
// one sentence; SIGTERM and SIGINT stop it gracefully with exit code 0, and by force when that takes too long. SIGTERM is for one copy that
// leaves while others go on: clients that merely keep a connection have a grace. SIGINT is for a desk that stops: it waits for work alone.
import { flushCompileCache } from "node:module"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Health } from "@holdfast/resilience/Health"
import { Http, Process } from "@holdfast/resilience/Limits"
import * as Logs from "@holdfast/telemetry/Logs"
import * as Telemetry from "@holdfast/telemetry/Telemetry"
import { Cause, Duration, Effect, Exit, Layer, Runtime } from "effect"
import { Settings } from "./Config.ts"
import { Lifecycle, makeLifecycle } from "./Lifecycle.ts"
import { StartError } from "./StartError.ts"

export interface ProcessOptions<A, E> {
  /** As in `ps`, logs, traces and metrics: `command-api`. */
  readonly name: string
  readonly layer: Layer.Layer<A, E, Settings | Health>
  /** What runs where, for the sentence that says that it is ready. */
  readonly ready?: (settings: Settings["Service"]) => string
}

export const runProcess = <A, E>(options: ProcessOptions<A, E>): void => {
  process.title = `holdfast ${options.name}`
  watchSignals()
  NodeRuntime.runMain(main(options), { teardown, disableErrorReporting: true })
}

const main = <A, E>(options: ProcessOptions<A, E>) =>
  started(options).pipe(
    Effect.provide(environment(options.name)),
    Effect.tapCause((cause) => Effect.sync(() => explain(options.name, cause)))
  )

const started = <A, E>({ layer, name, ready }: ProcessOptions<A, E>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const settings = yield* Settings
      yield* Effect.logInfo(`${name} is starting`)
      yield* Effect.addFinalizer(() => Effect.logInfo(`${name} has stopped`))
      const lifecycle = yield* Lifecycle
      yield* Layer.build(layer)
      // Node writes it at an orderly end only, and whoever comes after one that was killed is the one in a hurry.
      yield* Effect.sync(flushCompileCache)
      yield* lifecycle.open
      yield* Effect.addFinalizer(() => lifecycle.drain(graceOfSignal()))
      yield* Effect.addFinalizer(() => Effect.logInfo(`${name} is stopping`))
      yield* Effect.logInfo(`${name} is ready${ready === undefined ? "" : ` at ${ready(settings)}`}`)
      return yield* Effect.never
    })
  )

const environment = (name: string) =>
  Layer.unwrap(
    Settings.use(({ log, otlpUrl }) =>
      Effect.succeed(Layer.provideMerge(Telemetry.layer({ serviceName: name, otlpUrl }), Logs.layer(name, log)))
    )
  ).pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        Settings.layer,
        Health.layer,
        Layer.sync(Lifecycle, () => makeLifecycle("starting"))
      )
    )
  )

/** One sentence for what an operator can change; everything for what is our mistake. */
const explain = (name: string, cause: Cause.Cause<unknown>): void => {
  if (Cause.hasInterruptsOnly(cause)) return
  const error = Cause.squash(cause)
  console.error(error instanceof StartError ? `${name}: ${error.message}` : `${name} failed: ${Cause.pretty(cause)}`)
}

const teardown: Runtime.Teardown = (exit, onExit) =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? onExit(0) : Runtime.defaultTeardown(exit, onExit)

let firstSignal: NodeJS.Signals | undefined

const graceOfSignal = () => (firstSignal === "SIGTERM" ? Http.drainGrace : Duration.zero)

const watchSignals = (): void => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      firstSignal ??= signal
      setTimeout(() => process.exit(1), Duration.toMillis(Process.killDelay)).unref()
    })
  }
}
