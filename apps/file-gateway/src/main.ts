// Starts the file gateway.
import { runProcess } from "@holdfast/process/Main"
import { layer } from "./layers.ts"

runProcess({ name: "file-gateway", layer, ready: ({ filePort, host }) => `http://${host}:${filePort}/files/` })
