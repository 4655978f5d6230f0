// Why a process could not start, in one clear sentence for the operator. The exit code tells a supervisor whether trying again can
// help: 78 (EX_CONFIG of sysexits.h) means that somebody must change something first.
import { Data, Runtime } from "effect"

export class StartError extends Data.TaggedError("StartError")<{
  readonly message: string
  readonly exitCode: number
}> {
  override readonly [Runtime.errorExitCode] = this.exitCode

  static configuration(message: string): StartError {
    return new StartError({ message, exitCode: 78 })
  }

  static failed(message: string): StartError {
    return new StartError({ message, exitCode: 1 })
  }
}
