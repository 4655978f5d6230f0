// May this principal issue this command at all? The answer is in the one permission table; whether they may touch this particular
// ticket or file is part of the decision, which sees its state.
import { Forbidden } from "@holdfast/contracts/CommandErrors"
import type { DeskCommand } from "@holdfast/contracts/Commands"
import type { Principal } from "@holdfast/contracts/Principal"
import { mayIssue } from "@holdfast/domain/Permissions"
import { Effect } from "effect"

export const authorize = (principal: Principal, command: DeskCommand): Effect.Effect<void, Forbidden> =>
  mayIssue(principal, command._tag)
    ? Effect.void
    : Effect.fail(new Forbidden({ detail: `${command._tag} is not for the role ${principal.role}` }))
