// From what a client sent to a command with its meta. Everything that is wrong is told at once, each under the name of its field; a
// field that nobody knows is wrong too, for it is a misspelt one more often than not.
import { CommandMeta } from "@holdfast/contracts/Command"
import { ValidationFailed } from "@holdfast/contracts/CommandErrors"
import { type CommandName, commands, type DeskCommand } from "@holdfast/contracts/Commands"
import { Result, Schema, SchemaIssue } from "effect"

export interface DecodedCommand {
  readonly command: DeskCommand
  readonly meta: CommandMeta
}

export type Issue = ValidationFailed["issues"][number]

type Decode<A> = (input: unknown) => Result.Result<A, Schema.SchemaError>

const strictly = { errors: "all", onExcessProperty: "error" } as const

const decoderOf = (schema: Schema.Decoder<DeskCommand>): Decode<DeskCommand> =>
  Schema.decodeUnknownResult(schema, strictly)

const decoders: ReadonlyMap<CommandName, Decode<DeskCommand>> = new Map(
  commands.map((definition) => [definition.name, decoderOf(definition.command)])
)

const decodeMeta: Decode<CommandMeta> = Schema.decodeUnknownResult(CommandMeta, strictly)

/** `metaNames` are the names under which this protocol carries the meta's fields, where they differ. */
export const decodeCommand = (
  name: CommandName,
  payload: unknown,
  meta: unknown,
  metaNames: Readonly<Record<string, string>> = {}
): Result.Result<DecodedCommand, ValidationFailed> => {
  const decodedMeta = decodeMeta(meta)
  const command = isRecord(payload) ? decoders.get(name)?.({ ...payload, _tag: name }) : undefined
  if (Result.isSuccess(decodedMeta) && command !== undefined && Result.isSuccess(command)) {
    return Result.succeed({ command: command.success, meta: decodedMeta.success })
  }
  return Result.fail(
    new ValidationFailed({
      issues: [
        ...issuesOf(decodedMeta).map(({ message, path }) => ({ path: metaNames[path] ?? path, message })),
        ...(command === undefined ? [{ path: "", message: "Expected an object" }] : issuesOf(command))
      ]
    })
  )
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const issuesOf = (result: Result.Result<unknown, Schema.SchemaError>): ReadonlyArray<Issue> => {
  if (Result.isSuccess(result)) return []
  return format(result.failure.issue).issues.map(({ message, path = [] }) => ({
    path: path.map((part) => String(typeof part === "object" ? part.key : part)).join("."),
    message
  }))
}
