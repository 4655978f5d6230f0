// Typed remote procedures over HTTP (ndjson) and WebSocket. Clients have the typed group of the contracts; here each payload is taken as
// it comes and decoded by the decoder of all protocols, because a payload that the protocol itself rejects would be a defect
// to its caller and not a refusal that names the fields. MUST: `disableFatalDefects`, without which one defect in one handler
// ends every call that the same client has under way.
import { CommandAccepted } from "@holdfast/contracts/Command"
import { commandErrors } from "@holdfast/contracts/CommandErrors"
import { commands, type DeskCommandDefinition } from "@holdfast/contracts/Commands"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { Authenticated, CurrentPrincipal } from "@holdfast/contracts/wire/CommandRpcs"
import type { Refused } from "@holdfast/contracts/wire/Problem"
import { Identity } from "@holdfast/identity/Identity"
import { Effect, Layer, Option, Schema } from "effect"
import { Rpc, RpcGroup, RpcSerialization, RpcServer } from "effect/rpc"
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

/** A command is refused in no other way than its definition says. */
const refusalsOf = (definition: DeskCommandDefinition) => Schema.Union([...commandErrors, ...definition.refusals])

const servedOf = (definition: DeskCommandDefinition) =>
  Rpc.make(definition.name, {
    payload: Schema.Unknown,
    success: CommandAccepted,
    error: refusalsOf(definition)
  })

const served = RpcGroup.make(...commands.map(servedOf)).middleware(Authenticated)

const handlerOf = (definition: DeskCommandDefinition) => {
  // If the domain thinks otherwise, that is a defect.
  const isRefusal = Schema.is(refusalsOf(definition))
  return served.toLayerHandler(
    definition.name,
    Effect.map(
      CommandBus,
      (bus) => (sent: unknown) =>
        Effect.gen(function* () {
          const principal = yield* CurrentPrincipal
          const { meta, payload } = parted(sent)
          const decoded = yield* Effect.fromResult(decodeCommand(definition.name, payload, meta))
          return yield* bus.execute({ principal, ...decoded, causationId: Option.none() })
        }).pipe(Effect.catch((error: Refused) => (isRefusal(error) ? Effect.fail(error) : Effect.die(error))))
    )
  )
}

/** A command travels with its meta beside its fields. */
const parted = (sent: unknown): { readonly meta: unknown; readonly payload: unknown } => {
  if (typeof sent !== "object" || sent === null || Array.isArray(sent)) return { meta: {}, payload: sent }
  const { meta = {}, ...payload }: { readonly meta?: unknown } = sent
  return { meta, payload }
}

const [first, ...rest] = commands
const handlers = Layer.mergeAll(handlerOf(first), ...rest.map(handlerOf))

const options = { group: served, disableFatalDefects: true, spanPrefix: "Rpc" } as const

export const layer = Layer.mergeAll(
  RpcServer.layerHttp({ ...options, path: "/rpc", protocol: "http" }).pipe(Layer.provide(RpcSerialization.layerNdjson)),
  RpcServer.layerHttp({ ...options, path: "/rpc/ws", protocol: "websocket" }).pipe(
    Layer.provide(RpcSerialization.layerNdjson)
  )
).pipe(Layer.provide(handlers), Layer.provide(authenticated))
