// The commands as typed remote procedures: the payload of each with its meta beside it, the same answer and the same refusals as
// everywhere. For clients written in TypeScript; over HTTP and WebSocket alike.
import { Context, Schema } from "effect"
import { Rpc, RpcGroup, RpcMiddleware } from "effect/rpc"
import {
  RecordFileRescan,
  RecordFileStages,
  RegisterFile,
  RescanFile,
  RetryFile,
  WithdrawFile
} from "../attachment/Commands.ts"
import { CommandAccepted, type CommandDefinition, CommandMeta } from "../Command.ts"
import { commandErrors, Unauthenticated, WriteUnavailable } from "../CommandErrors.ts"
import { ReadNotifications } from "../notification/Commands.ts"
import type { Principal } from "../Principal.ts"
import {
  AddNote,
  AssignTicket,
  AttachFile,
  ChangeTicketStatus,
  ClaimTicket,
  OpenTicket,
  ReplyToTicket,
  WithdrawAttachment
} from "../ticket/Commands.ts"

/** Who calls, once the token is verified. */
export class CurrentPrincipal extends Context.Service<CurrentPrincipal, Principal>()(
  "@holdfast/contracts/wire/CurrentPrincipal"
) {}

/** Clients put `authorization: Bearer <token>` into the headers of each call. */
export class Authenticated extends RpcMiddleware.Service<Authenticated, { provides: CurrentPrincipal }>()(
  "@holdfast/contracts/wire/Authenticated",
  { error: Schema.Union([Unauthenticated, WriteUnavailable]) }
) {}

const rpcOf = <
  const Name extends string,
  const Fields extends Schema.Struct.Fields,
  const Refusals extends ReadonlyArray<Schema.Top>
>({
  name,
  payload,
  refusals
}: CommandDefinition<Name, Fields, Refusals>) =>
  Rpc.make(name, {
    payload: Schema.Struct({ ...payload.fields, meta: CommandMeta }),
    success: CommandAccepted,
    error: Schema.Union([...commandErrors, ...refusals])
  })

export class CommandRpcs extends RpcGroup.make(
  rpcOf(OpenTicket),
  rpcOf(ReplyToTicket),
  rpcOf(AddNote),
  rpcOf(AssignTicket),
  rpcOf(ClaimTicket),
  rpcOf(ChangeTicketStatus),
  rpcOf(AttachFile),
  rpcOf(RegisterFile),
  rpcOf(RecordFileStages),
  rpcOf(RetryFile),
  rpcOf(RescanFile),
  rpcOf(RecordFileRescan),
  rpcOf(WithdrawFile),
  rpcOf(WithdrawAttachment),
  rpcOf(ReadNotifications)
).middleware(Authenticated) {}
