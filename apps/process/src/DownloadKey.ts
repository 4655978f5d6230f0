// The secret that signs and verifies download links, from its variable or its file. Who cannot read it cannot start: a process that made
// one up would sign links that nobody accepts.
import { readFile } from "node:fs/promises"
import { Effect, Option, Redacted } from "effect"
import { Settings } from "./Config.ts"
import { StartError } from "./StartError.ts"

const lengthMin = 32

export const downloadKey = Settings.use(({ downloadKey, downloadKeyFile }) =>
  Option.match(downloadKey, { onSome: (key) => Effect.succeed(key), onNone: () => fromFile(downloadKeyFile) })
)

const fromFile = (path: string): Effect.Effect<Redacted.Redacted<string>, StartError> =>
  Effect.tryPromise({
    try: () => readFile(path, "utf8"),
    catch: () =>
      StartError.configuration(
        `The download key cannot be read from ${path}: set HOLDFAST_DOWNLOAD_KEY, or HOLDFAST_DOWNLOAD_KEY_FILE to a file that holds at least ${lengthMin} characters.`
      )
  }).pipe(
    Effect.flatMap((text) => {
      const key = text.trim()
      return key.length >= lengthMin
        ? Effect.succeed(Redacted.make(key))
        : Effect.fail(StartError.configuration(`The download key in ${path} is shorter than ${lengthMin} characters.`))
    })
  )
