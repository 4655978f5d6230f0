// The commands as protocol buffers see them, derived from their schemas: what the .proto is generated from, and how a decoded message
// becomes a payload again. Field numbers follow the order of a definition's fields, so new fields go to the end of it. Every scalar
// is `optional`, for an absent field and an empty one are different things here; a tagged union is a `oneof`.
import { Schema } from "effect"
import { CommandAccepted, CommandMeta } from "../Command.ts"
import { type CommandName, commands } from "../Commands.ts"

export type ProtoShape =
  | { readonly kind: "scalar"; readonly type: "string" | "int64" | "double" | "bool" }
  | { readonly kind: "list"; readonly of: ProtoShape }
  | ProtoMessage
  | { readonly kind: "variant"; readonly name: string; readonly members: ReadonlyArray<ProtoMember> }

export interface ProtoMessage {
  readonly kind: "message"
  readonly name: string
  readonly fields: ReadonlyArray<ProtoField>
}

export interface ProtoField {
  readonly name: string
  readonly shape: ProtoShape
}

interface ProtoMember {
  readonly tag: string
  readonly message: ProtoMessage
}

type Json = Readonly<Record<string, unknown>>

const isJson = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

const pascal = (name: string) => name.charAt(0).toUpperCase() + name.slice(1)
const camel = (name: string) => name.charAt(0).toLowerCase() + name.slice(1)

const messageOf = (name: string, schema: Schema.Top): ProtoMessage => {
  const { definitions, schema: root } = Schema.toJsonSchemaDocument(schema)
  const resolve = (json: unknown): Json => {
    if (!isJson(json)) throw new Error(`${name} has a part that is not a JSON schema`)
    return typeof json.$ref === "string" ? resolve(definitions[json.$ref.slice("#/$defs/".length)]) : json
  }
  const shape = shapeOf(name, resolve(root), resolve)
  if (shape.kind !== "message") throw new Error(`${name} is not a message`)
  return shape
}

const shapeOf = (name: string, json: Json, resolve: (json: unknown) => Json): ProtoShape => {
  if (Array.isArray(json.anyOf)) return variantOf(name, json.anyOf.map(resolve), resolve)
  switch (json.type) {
    case "string":
      return { kind: "scalar", type: "string" }
    case "integer":
      return { kind: "scalar", type: "int64" }
    case "number":
      return { kind: "scalar", type: "double" }
    case "boolean":
      return { kind: "scalar", type: "bool" }
    case "array":
      return { kind: "list", of: shapeOf(name, resolve(json.items), resolve) }
    case "object":
      return { kind: "message", name, fields: fieldsOf(name, json, resolve) }
    default:
      throw new Error(`${name} has no counterpart in protocol buffers`)
  }
}

const fieldsOf = (name: string, json: Json, resolve: (json: unknown) => Json): ReadonlyArray<ProtoField> =>
  Object.entries(isJson(json.properties) ? json.properties : {})
    .filter(([field]) => field !== "_tag")
    .map(([field, property]) => ({
      name: field,
      shape: shapeOf(`${name}${pascal(field)}`, resolve(property), resolve)
    }))

const variantOf = (name: string, members: ReadonlyArray<Json>, resolve: (json: unknown) => Json): ProtoShape => ({
  kind: "variant",
  name,
  members: members.map((member) => {
    const tag = tagOf(name, member)
    return {
      tag,
      message: { kind: "message", name: `${name}${tag}`, fields: fieldsOf(`${name}${tag}`, member, resolve) }
    }
  })
})

const tagOf = (name: string, { properties }: Json): string => {
  const tag = isJson(properties) && isJson(properties._tag) ? properties._tag.enum : undefined
  const [only]: ReadonlyArray<unknown> = Array.isArray(tag) ? tag : []
  if (typeof only !== "string") throw new Error(`${name} is a union without tags`)
  return only
}

export const memberField = (tag: string): string => camel(tag)

export const metaMessage = messageOf("CommandMeta", CommandMeta)
export const acceptedMessage = messageOf("CommandAccepted", CommandAccepted)

/** The payload of each command; its request is this with the meta before it. */
export const payloadMessages: ReadonlyMap<CommandName, ProtoMessage> = new Map(
  commands.map(({ name, payload }) => [name, messageOf(`${name}Request`, payload)])
)

/** A decoded message as the JSON that it stands for; what is absent stays absent. */
export const fromProto = (shape: ProtoShape, value: unknown): unknown => {
  switch (shape.kind) {
    case "scalar":
      return value
    case "list":
      return Array.isArray(value) ? value.map((item) => fromProto(shape.of, item)) : value
    case "message":
      return isJson(value) ? Object.fromEntries(presentFields(shape, value)) : value
    case "variant": {
      const member = shape.members.find(({ tag }) => isJson(value) && isJson(value[memberField(tag)]))
      if (member === undefined || !isJson(value)) return value
      return { _tag: member.tag, ...Object.fromEntries(presentFields(member.message, value[memberField(member.tag)])) }
    }
  }
}

const presentFields = ({ fields }: ProtoMessage, value: unknown): ReadonlyArray<readonly [string, unknown]> =>
  fields.flatMap(({ name, shape }) => {
    const field = isJson(value) ? value[name] : undefined
    return field === undefined || field === null ? [] : [[name, fromProto(shape, field)]]
  })
