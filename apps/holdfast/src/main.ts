// `holdfast`: the command line of the desk. A command that cannot do its work says why in one sentence and exits with 1, or 3 when a desk is
// running already, or 4 when a drill found a promise broken or `files verify` something lacking. Ctrl-C stops `up` in order; a second one, or 19 s, by force.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Console, Effect, Exit, Layer, Logger, Runtime } from "effect"
import { Command } from "effect/cli"
import { doctor } from "./cli/Doctor.ts"
import { drill } from "./cli/Drill.ts"
import { files } from "./cli/Files.ts"
import { migrate } from "./cli/Migrate.ts"
import { parked } from "./cli/Parked.ts"
import { restart } from "./cli/Restart.ts"
import { restored } from "./cli/Restored.ts"
import { status } from "./cli/Status.ts"
import { token } from "./cli/Token.ts"
import { up } from "./cli/Up.ts"
import { Refusal } from "./Refusal.ts"
import { killAllNow } from "./supervisor/UnderWay.ts"

const holdfast = Command.make("holdfast").pipe(
  Command.withDescription("A customer support desk that keeps working when its surroundings do not."),
  Command.withSubcommands([up, status, restart, doctor, migrate, restored, token, parked, files, drill])
)

const say = (error: unknown) => (error instanceof Refusal ? Console.error(`holdfast: ${error.sentence}`) : Effect.void)

/** To be stopped by the person who started it is how `up` succeeds; anything else was cut short. */
const teardown: Runtime.Teardown = (exit, onExit) => {
  const stopped = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
  return stopped && process.argv[2] === "up" ? onExit(0) : Runtime.defaultTeardown(exit, onExit)
}

const stopByForce = (exitCode: number) => {
  killAllNow()
  process.exit(exitCode)
}

/** One Ctrl-C arrives up to three times: from the terminal, from npm and from the script that npm runs. */
const sameSignalMs = 1_000
let firstSignalMs: number | undefined
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    firstSignalMs ??= performance.now()
    if (performance.now() - firstSignalMs > sameSignalMs) stopByForce(130)
    setTimeout(stopByForce, 19_000, 1).unref()
  })
}
// A closed terminal stops the desk as Ctrl-C does, and takes the reader of our output with it.
process.on("SIGHUP", () => process.kill(process.pid, "SIGTERM"))
process.stdout.on("error", () => undefined)

/** Standard output is for answers. */
const logs = Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])

holdfast.pipe(
  Command.run({ version: "0.1.0" }),
  Effect.tapError(say),
  Effect.provide(Layer.mergeAll(NodeServices.layer, logs)),
  NodeRuntime.runMain({ teardown })
)
