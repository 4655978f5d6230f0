// `node apps/query-api/src/main.ts`: GraphQL at /graphql and the status page at / on HOLDFAST_QUERY_PORT.
import { runProcess } from "@holdfast/process/Main"
import { layer, name } from "./layers.ts"

runProcess({ name, layer, ready: ({ host, queryPort }) => `http://${host}:${queryPort}` })
