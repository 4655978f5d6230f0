// The realtime gateway as one process: subscriptions from the broker, queries from the read side, tokens by the issuer's keys. It
// starts, and keeps its sockets and streams, while any of them is away. The gateway is built after the HTTP server and so ends before it:
// they would otherwise hold up the stop of the server.
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import * as ReadTablesPostgres from "@holdfast/database/ReadTablesPostgres"
import { makeAdapters } from "@holdfast/process/Adapters"
import { Settings } from "@holdfast/process/Config"
import { downloadKey } from "@holdfast/process/DownloadKey"
import * as HealthRoutes from "@holdfast/process/HealthRoutes"
import { serve } from "@holdfast/process/HttpServer"
import * as Execute from "@holdfast/queries/graphql/Execute"
import { Reads } from "@holdfast/queries/Reads"
import * as Gateway from "@holdfast/realtime/Gateway"
import { takeStreams } from "@holdfast/realtime/StreamRequest"
import { refuseUpgrade, takeUpgrades } from "@holdfast/realtime/Upgrade"
import { Realtime } from "@holdfast/resilience/Limits"
import { Effect, Layer } from "effect"

export const name = "realtime-gateway"

const adapters = makeAdapters({ process: name })

const reads = Reads.layer.pipe(
  Layer.provide(ReadTablesPostgres.layer),
  Layer.provide(adapters.readDatabase),
  Layer.provide(adapters.cache)
)

const queries = Layer.unwrap(
  Effect.gen(function* () {
    const { publicFileUrl } = yield* Settings
    const downloads = { key: yield* downloadKey, publicUrl: publicFileUrl }
    return Execute.graphqlExecutor.pipe(Layer.provide(Execute.layer({ downloads })), Layer.provide(reads))
  })
)

export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const { allowedOrigins, host, realtimePort } = yield* Settings
    const door = makeDoor()
    const http = serve(HealthRoutes.layer({ process: name, needs: [] }), {
      allowedOrigins,
      host,
      port: realtimePort,
      portVariable: "HOLDFAST_REALTIME_PORT",
      connectionsMax: Realtime.socketsMax,
      prepare: door.prepare
    })
    return Layer.effectDiscard(Effect.map(Gateway.Gateway, door.serve)).pipe(
      Layer.provide(Gateway.layer({ allowedOrigins })),
      Layer.provide([queries, adapters.broker, adapters.signals, adapters.identity]),
      Layer.provideMerge(http)
    )
  })
)

/** The gateway ends before the server does; who asks on a connection that is still open then is asked to come again. */
const makeDoor = () => {
  let upgrade = (_request: IncomingMessage, socket: Duplex, _head: Buffer): void => refuseUpgrade(socket, 503)
  let stream = (_request: IncomingMessage, response: ServerResponse): void => {
    response.writeHead(503, { "retry-after": "1" }).end()
  }
  return {
    prepare: (server: Server): void => {
      takeUpgrades(server, (request, socket, head) => upgrade(request, socket, head))
      takeStreams(server, (request, response) => stream(request, response))
    },
    serve: (gateway: Gateway.Gateway["Service"]): void => {
      upgrade = (request, socket, head) => gateway.handleUpgrade(request, socket, head)
      stream = (request, response) => gateway.handleStream(request, response)
    }
  }
}
