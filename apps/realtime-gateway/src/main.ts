// `node apps/realtime-gateway/src/main.ts`: subscriptions and queries over graphql-ws, subscriptions over
// server-sent events, on HOLDFAST_REALTIME_PORT.
import { runProcess } from "@holdfast/process/Main"
import { layer, name } from "./layers.ts"

runProcess({ name, layer, ready: ({ host, realtimePort }) => `ws://${host}:${realtimePort}/graphql` })
