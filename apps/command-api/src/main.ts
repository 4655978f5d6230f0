// `node apps/command-api/src/main.ts`: commands over REST and typed RPC on HOLDFAST_COMMAND_PORT, over gRPC on HOLDFAST_GRPC_PORT.
import { runProcess } from "@holdfast/process/Main"
import { layer, name } from "./layers.ts"

runProcess({
  name,
  layer,
  ready: ({ commandPort, grpcPort, host }) =>
    `http://${host}:${commandPort} (documentation at /docs), gRPC ${host}:${grpcPort}`
})
