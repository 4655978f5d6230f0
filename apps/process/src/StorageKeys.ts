// The pair of keys for object storage, each from its variable or from the file that a variable names. Whoever is told to use object storage and
// has no keys for it cannot start: it would accept files that it can neither release nor give.
import { readFile } from "node:fs/promises"
import { Effect, Option, Redacted } from "effect"
import { Settings } from "./Config.ts"
import { StartError } from "./StartError.ts"

export const storageKeys = Settings.use((settings) =>
  Effect.all({
    accessKey: keyOf("HOLDFAST_STORAGE_ACCESS_KEY", settings.storageAccessKey, settings.storageAccessKeyFile),
    secretKey: keyOf("HOLDFAST_STORAGE_SECRET_KEY", settings.storageSecretKey, settings.storageSecretKeyFile)
  })
)

const keyOf = (variable: string, value: Option.Option<Redacted.Redacted<string>>, file: Option.Option<string>) => {
  if (Option.isSome(value)) return Effect.succeed(value.value)
  return Option.isSome(file)
    ? fromFile(variable, file.value)
    : Effect.fail(
        StartError.configuration(
          `${variable} is not set, and HOLDFAST_STORAGE_URL asks for object storage: give the key, or in ${variable}_FILE the path of a file that holds it.`
        )
      )
}

const fromFile = (variable: string, path: string): Effect.Effect<Redacted.Redacted<string>, StartError> =>
  Effect.tryPromise({
    try: () => readFile(path, "utf8"),
    catch: () =>
      StartError.configuration(
        `${variable}_FILE is not valid: ${path} cannot be read; give the path of a file that holds the key.`
      )
  }).pipe(
    Effect.flatMap((text) =>
      text.trim() === ""
        ? Effect.fail(
            StartError.configuration(`${variable}_FILE is not valid: ${path} is empty; it must hold the key.`)
          )
        : Effect.succeed(Redacted.make(text.trim()))
    )
  )
