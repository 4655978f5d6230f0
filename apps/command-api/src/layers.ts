// The command path as one process: REST, typed RPC and gRPC over the command bus. PostgreSQL is all it needs to serve; without it the
// process starts, stays, refuses in plain words, and serves again by itself.
import * as GrpcServer from "@holdfast/commands/grpc/CommandGrpcServer"
import * as HandleCommand from "@holdfast/commands/HandleCommand"
import * as CommandRoutes from "@holdfast/commands/http/CommandRoutes"
import * as DocumentationRoutes from "@holdfast/commands/http/DocumentationRoutes"
import * as RpcServer from "@holdfast/commands/rpc/CommandRpcServer"
import * as SweepReceipts from "@holdfast/commands/SweepReceipts"
import * as CommandStorePostgres from "@holdfast/database/CommandStorePostgres"
import { makeAdapters } from "@holdfast/process/Adapters"
import { Settings } from "@holdfast/process/Config"
import * as HealthRoutes from "@holdfast/process/HealthRoutes"
import { serve } from "@holdfast/process/HttpServer"
import { inheritedSocket } from "@holdfast/process/Sockets"
import { StartError } from "@holdfast/process/StartError"
import { Effect, Layer } from "effect"

export const name = "command-api"

const adapters = makeAdapters({ process: name })

const store = CommandStorePostgres.layer.pipe(Layer.provide(adapters.database))

const commands = HandleCommand.layer.pipe(
  Layer.merge(SweepReceipts.layer),
  Layer.provide(store),
  Layer.merge(adapters.identity)
)

const routes = Layer.mergeAll(
  CommandRoutes.layer,
  DocumentationRoutes.layer,
  RpcServer.layer,
  HealthRoutes.layer({ process: name, needs: ["database"] })
)

const http = Layer.unwrap(
  Effect.map(Settings, ({ allowedOrigins, commandPort, host }) =>
    serve(routes, {
      allowedOrigins,
      takesOwnPages: true,
      host,
      port: commandPort,
      portVariable: "HOLDFAST_COMMAND_PORT"
    })
  )
)

const grpc = Layer.unwrap(
  Effect.map(Settings, ({ grpcPort, host }) =>
    GrpcServer.layer({ host, port: grpcPort, fd: inheritedSocket("grpc")[0] })
  )
).pipe(
  Layer.catchTag("GrpcCannotListen", ({ message, port }) =>
    Layer.effectDiscard(
      Effect.fail(
        StartError.failed(`gRPC cannot listen on port ${port} (${message}): set HOLDFAST_GRPC_PORT to a free port.`)
      )
    )
  )
)

export const layer = Layer.merge(http, grpc).pipe(Layer.provide(commands))
