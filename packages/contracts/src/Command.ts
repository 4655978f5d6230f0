// One definition per command: name, payload, refusals, who may issue it, and its REST path. REST, typed RPC and gRPC are thin
// mappings of this; none of them adds a rule.
import { Schema } from "effect"
import { CommandId, CorrelationId, StreamId, StreamVersion } from "./Ids.ts"
import type { Role } from "./Principal.ts"

/** What rides beside every payload, on every protocol. */
export const CommandMeta = Schema.Struct({
  commandId: CommandId,
  /** Refuse unless the aggregate is at exactly this version. */
  expectedVersion: Schema.optionalKey(StreamVersion),
  correlationId: Schema.optionalKey(CorrelationId)
})
export type CommandMeta = typeof CommandMeta.Type

/** The answer to every accepted command. Repeating the commandId gives the same answer with `replayed: true`. */
export const CommandAccepted = Schema.Struct({
  commandId: CommandId,
  streamId: StreamId,
  /** The aggregate's version after this command; a query may wait for it with `atLeastVersion`. */
  version: StreamVersion,
  /** The human number, where the command opened a ticket. */
  number: Schema.optionalKey(Schema.Int),
  replayed: Schema.Boolean
}).annotate({ identifier: "CommandAccepted" })
export type CommandAccepted = typeof CommandAccepted.Type

/** An inbox is one person's: what they have read of what they were told. */
export const StreamType = Schema.Literals(["ticket", "file", "inbox"])
export type StreamType = typeof StreamType.Type

export interface CommandDefinition<
  Name extends string,
  Fields extends Schema.Struct.Fields,
  Refusals extends ReadonlyArray<Schema.Top>
> {
  readonly name: Name
  readonly summary: string
  readonly streamType: StreamType
  /**
   * Where the aggregate's id stands in the payload; `commandId` means that this command creates it under its own id, `principalId` that each
   * person has one, under an id made from theirs.
   */
  readonly streamIdField: (keyof Fields & string) | "commandId" | "principalId"
  /** What the client sends. */
  readonly payload: Schema.Struct<Fields>
  /** The payload with its name, as the domain decides on it. */
  readonly command: Schema.TaggedStruct<Name, Fields>
  readonly refusals: Refusals
  readonly roles: ReadonlyArray<Role>
  /** POST to this path; `:field` stands for a payload field. */
  readonly path: `/v1/${string}`
}

export const defineCommand = <
  const Name extends string,
  const Fields extends Schema.Struct.Fields,
  const Refusals extends ReadonlyArray<Schema.Top>
>(
  options: Omit<CommandDefinition<Name, Fields, Refusals>, "payload" | "command"> & { readonly fields: Fields }
): CommandDefinition<Name, Fields, Refusals> => {
  const { fields, ...rest } = options
  return {
    ...rest,
    payload: Schema.Struct(fields).annotate({ identifier: `${options.name}Payload` }),
    command: Schema.TaggedStruct(options.name, fields)
  }
}
