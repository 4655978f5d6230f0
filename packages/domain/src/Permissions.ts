// The one permission table. Commands, queries, search, subscriptions and downloads all ask here; what it does not grant is denied.
import type { CommandName, DeskCommandDefinition } from "@holdfast/contracts/Commands"
import { commands } from "@holdfast/contracts/Commands"
import type { Visibility } from "@holdfast/contracts/Envelope"
import type { PrincipalId } from "@holdfast/contracts/Ids"
import { isStaff, type Principal, type Role } from "@holdfast/contracts/Principal"
import type { Audience } from "@holdfast/contracts/ticket/Status"

const rolesByCommand: ReadonlyMap<CommandName, ReadonlyArray<Role>> = new Map(
  commands.map((definition: DeskCommandDefinition) => [definition.name, definition.roles])
)

export const mayIssue = (principal: Principal, command: CommandName): boolean =>
  rolesByCommand.get(command)?.includes(principal.role) ?? false

/** Staff see every ticket and file; a customer only what they requested or own. */
export const mayReadStream = (principal: Principal, requesterId: PrincipalId): boolean =>
  isStaff(principal) || principal.id === requesterId

/** A part of a ticket: a message, a file, an event. */
export const mayReadPart = (principal: Principal, requesterId: PrincipalId, audience: Audience): boolean =>
  isStaff(principal) || (principal.id === requesterId && audience === "public")

export const mayReadEvent = (principal: Principal, visibility: Visibility): boolean =>
  mayReadPart(principal, visibility.requesterId, visibility.audience)

/** Volumes and other figures about the desk as a whole. */
export const mayReadAnalytics = (principal: Principal): boolean => isStaff(principal)
