// The text of holdfast.proto: one method per command, made from the shapes that the contracts derive from their schemas.
import { commands } from "@holdfast/contracts/Commands"
import {
  acceptedMessage,
  memberField,
  metaMessage,
  type ProtoField,
  type ProtoMessage,
  type ProtoShape,
  payloadMessages
} from "@holdfast/contracts/wire/ProtoShape"

export const commandProto = (): string =>
  [
    "// Generated from the command definitions by `pnpm codegen`; do not edit.",
    'syntax = "proto3";',
    "",
    "package holdfast.v1;",
    "",
    "// Every command carries a commandId made by the client; repeating it changes nothing more. A refusal is a status whose metadata",
    "// `holdfast-problem-bin` holds the problem details as JSON.",
    "service Commands {",
    ...commands.flatMap(({ name, summary }) => [
      `  // ${summary}`,
      `  rpc ${name}(${name}Request) returns (CommandAccepted);`
    ]),
    "}",
    "",
    ...messageText(metaMessage),
    ...messageText(acceptedMessage),
    ...commands.flatMap(({ name }) => requestText(payloadMessages.get(name)))
  ].join("\n")

const requestText = (payload: ProtoMessage | undefined): ReadonlyArray<string> => {
  if (payload === undefined) throw new Error("a command without a payload")
  return messageText({ ...payload, fields: [{ name: "meta", shape: metaMessage }, ...payload.fields] })
}

const messageText = (message: ProtoMessage): ReadonlyArray<string> => [
  `message ${message.name} {`,
  ...message.fields.map((field, index) => `  ${fieldText(field, index + 1)}`),
  "}",
  "",
  ...message.fields.filter(({ shape }) => shape !== metaMessage).flatMap(({ shape }) => innerText(shape))
]

const innerText = (shape: ProtoShape): ReadonlyArray<string> => {
  switch (shape.kind) {
    case "scalar":
      return []
    case "list":
      return innerText(shape.of)
    case "message":
      return messageText(shape)
    case "variant":
      return [
        `message ${shape.name} {`,
        "  oneof variant {",
        ...shape.members.map(
          ({ message, tag }, index) => `    ${message.name} ${snake(memberField(tag))} = ${index + 1};`
        ),
        "  }",
        "}",
        "",
        ...shape.members.flatMap(({ message }) => messageText(message))
      ]
  }
}

const fieldText = ({ name, shape }: ProtoField, number: number): string => {
  const label = shape.kind === "list" ? "repeated " : shape.kind === "scalar" ? "optional " : ""
  return `${label}${typeOf(shape)} ${snake(name)} = ${number};`
}

const typeOf = (shape: ProtoShape): string => {
  switch (shape.kind) {
    case "scalar":
      return shape.type
    case "list":
      return typeOf(shape.of)
    case "message":
    case "variant":
      return shape.name
  }
}

const snake = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
