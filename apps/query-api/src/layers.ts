// The query side as one process: GraphQL over HTTP and the status page. It starts, stays and answers while the read database or the cache is
// away; with both away it says so in plain words until one is back.
import type { Server } from "node:http"
import * as ReadTablesPostgres from "@holdfast/database/ReadTablesPostgres"
import { makeAdapters } from "@holdfast/process/Adapters"
import { Settings } from "@holdfast/process/Config"
import { downloadKey } from "@holdfast/process/DownloadKey"
import * as HealthRoutes from "@holdfast/process/HealthRoutes"
import { serve } from "@holdfast/process/HttpServer"
import * as Execute from "@holdfast/queries/graphql/Execute"
import { makeHandler, type NodeHandler, takeRequests } from "@holdfast/queries/http/GraphqlHttp"
import { Reads } from "@holdfast/queries/Reads"
import { Effect, Layer } from "effect"
import * as PageRoutes from "./PageRoutes.ts"
import * as StatusBoard from "./StatusBoard.ts"

export const name = "query-api"

const adapters = makeAdapters({ process: name })

const reads = Reads.layer.pipe(
  Layer.provide(ReadTablesPostgres.layer),
  Layer.provide(adapters.readDatabase),
  Layer.provide(adapters.cache)
)

const executor = Layer.unwrap(
  Effect.gen(function* () {
    const { publicFileUrl } = yield* Settings
    return Execute.layer({ downloads: { key: yield* downloadKey, publicUrl: publicFileUrl } })
  })
).pipe(Layer.provide(reads))

export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const settings = yield* Settings
    const { allowedOrigins, host, queryPort, statusTargets } = settings
    const graphql: NodeHandler = yield* makeHandler({ allowedOrigins })
    const routes = Layer.mergeAll(
      PageRoutes.layer(settings),
      // Neither is needed alone: HTTP answers as long as one of them does.
      HealthRoutes.layer({ process: name, needs: [] })
    )
    return serve(routes, {
      allowedOrigins,
      host,
      port: queryPort,
      portVariable: "HOLDFAST_QUERY_PORT",
      prepare: (server: Server) => takeRequests(server, "/graphql", graphql)
    }).pipe(Layer.provide(StatusBoard.layer(statusTargets)))
  })
).pipe(Layer.provide(executor), Layer.provide(adapters.identity))
