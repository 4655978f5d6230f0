// Every command of the desk, in one list. The protocols, OpenAPI, the .proto and their tests are made from it.
import { Schema } from "effect"
import { fileCommands } from "./attachment/Commands.ts"
import { inboxCommands } from "./notification/Commands.ts"
import { ticketCommands } from "./ticket/Commands.ts"

export const commands = [...ticketCommands, ...fileCommands, ...inboxCommands] as const

export type DeskCommandDefinition = (typeof commands)[number]
export type CommandName = DeskCommandDefinition["name"]
export type DeskCommand = DeskCommandDefinition["command"]["Type"]
export type DeskRefusal = DeskCommandDefinition["refusals"][number]["Type"]

export const DeskCommand = Schema.Union(commands.map((definition) => definition.command))

export const definitionOf = (name: CommandName): DeskCommandDefinition => {
  const found = commands.find((definition) => definition.name === name)
  if (found === undefined) throw new Error(`no definition of ${name}`)
  return found
}
