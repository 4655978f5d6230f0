// The two files that an operator may write for this worker: the rules of automation and the endpoints of webhooks. What is wrong in one is
// told in one sentence that names the variable and the place in the file, never a value, which may be a secret.
import { readFile } from "node:fs/promises"
import { Rules } from "@holdfast/contracts/automation/Rules"
import { StartError } from "@holdfast/process/StartError"
import { WebhookEndpoints } from "@holdfast/webhook/Webhook"
import { Effect, Option, Schema } from "effect"

export const readRules = (path: Option.Option<string>) => readList("HOLDFAST_RULES", path, Rules)

export const readWebhooks = (path: Option.Option<string>) => readList("HOLDFAST_WEBHOOKS", path, WebhookEndpoints)

/** Nothing when the variable is unset. */
const readList = <A, I>(variable: string, path: Option.Option<string>, schema: Schema.Codec<ReadonlyArray<A>, I>) =>
  Option.match(path, {
    onNone: () => Effect.succeed<ReadonlyArray<A>>([]),
    onSome: (file) =>
      Effect.tryPromise({ try: () => readFile(file, "utf8"), catch: () => "it cannot be read" }).pipe(
        Effect.flatMap((text) =>
          Effect.mapError(Schema.decodeEffect(Schema.fromJsonString(schema))(text), (error) => inOneLine(error.message))
        ),
        Effect.mapError((why) => StartError.configuration(`${variable} names ${file}, but ${why}.`))
      )
  })

const inOneLine = (message: string) => message.replaceAll(/\s+/g, " ").trim()
