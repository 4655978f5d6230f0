// The one way a command of `holdfast` fails that a person can do something about: one clear sentence, and an exit code that a script can
// act on. 1: it did not work. 3: a desk is running already. 4: a drill found a promise broken, or `files verify` something lacking. 5: every
// promise held, and a bar of time or memory was missed; or nothing is lacking, and something is left over.
import { Runtime, Schema } from "effect"

export const ExitCode = { failed: 1, alreadyRunning: 3, promiseBroken: 4, barMissed: 5 } as const

export class Refusal extends Schema.TaggedError<Refusal>()("Refusal", {
  sentence: Schema.String,
  exitCode: Schema.Literals([ExitCode.failed, ExitCode.alreadyRunning, ExitCode.promiseBroken, ExitCode.barMissed])
}) {
  override readonly [Runtime.errorReported] = false
  override get [Runtime.errorExitCode]() {
    return this.exitCode
  }
}

export const refuse = (sentence: string, exitCode: Refusal["exitCode"] = ExitCode.failed): Refusal =>
  new Refusal({ sentence, exitCode })
