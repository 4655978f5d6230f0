// Typed remote procedures over HTTP (ndjson) and WebSocket. MUST: `disableFatalDefects`, without which one defect in one handler ends
// every call that the same client has under way.
import { RecordFileStage, RegisterFile, RetryFile } from "@holdfast/contracts/attachment/Commands"
import type { CommandDefinition, CommandMeta } from "@holdfast/contracts/Command"
import { commandErrors } from "@holdfast/contracts/CommandErrors"
import type { CommandName } from "@holdfast/contracts/Commands"
import {
  AddNote,
  AssignTicket,
  AttachFile,
  ChangeTicketStatus,
  ClaimTicket,
  OpenTicket,
  ReplyToTicket
} from "@holdfast/contracts/ticket/Commands"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { Authenticated, CommandRpcs, CurrentPrincipal } from "@holdfast/contracts/wire/CommandRpcs"
import { Identity } from "@holdfast/identity/Identity"
import { Effect, Layer, Option, Schema } from "effect"
import { RpcSerialization, RpcServer } from "effect/rpc"
import { authenticate } from "../Authenticate.ts"
import { decodeCommand } from "../DecodeCommand.ts"

const authenticated = Layer.effect(
  Authenticated,
  Effect.map(Identity, (identity) =>
    Authenticated.of((self, { headers }) =>
      Effect.flatMap(authenticate(identity, headers.authorization), (principal) =>
        Effect.provideService(self, CurrentPrincipal, principal)
      )
    )
  )
)

const handlers = CommandRpcs.toLayer(
  Effect.gen(function* () {
    const handle = handleWith(yield* CommandBus)
    return CommandRpcs.of({
      OpenTicket: handle(OpenTicket),
      ReplyToTicket: handle(ReplyToTicket),
      AddNote: handle(AddNote),
      AssignTicket: handle(AssignTicket),
      ClaimTicket: handle(ClaimTicket),
      ChangeTicketStatus: handle(ChangeTicketStatus),
      AttachFile: handle(AttachFile),
      RegisterFile: handle(RegisterFile),
      RecordFileStage: handle(RecordFileStage),
      RetryFile: handle(RetryFile)
    })
  })
)

const handleWith =
  (bus: CommandBus["Service"]) =>
  <Name extends CommandName, Fields extends Schema.Struct.Fields, Refusals extends ReadonlyArray<Schema.Top>>(
    definition: CommandDefinition<Name, Fields, Refusals>
  ) => {
    // A command is refused in no other way than its definition says; if the domain thinks otherwise, that is a defect.
    const isRefusal = Schema.is(Schema.Union([...commandErrors, ...definition.refusals]))
    return ({ meta, ...payload }: { readonly meta: CommandMeta }) =>
      Effect.gen(function* () {
        const principal = yield* CurrentPrincipal
        const { command } = yield* Effect.fromResult(decodeCommand(definition.name, payload, meta))
        return yield* bus.execute({ principal, meta, command, causationId: Option.none() })
      }).pipe(Effect.catch((error) => (isRefusal(error) ? Effect.fail(error) : Effect.die(error))))
  }

const options = { group: CommandRpcs, disableFatalDefects: true, spanPrefix: "Rpc" } as const

export const layer = Layer.mergeAll(
  RpcServer.layerHttp({ ...options, path: "/rpc", protocol: "http" }).pipe(Layer.provide(RpcSerialization.layerNdjson)),
  RpcServer.layerHttp({ ...options, path: "/rpc/ws", protocol: "websocket" }).pipe(
    Layer.provide(RpcSerialization.layerNdjson)
  )
).pipe(Layer.provide(handlers), Layer.provide(authenticated))
