// Starts the file worker.
import { runProcess } from "@holdfast/process/Main"
import { layer } from "./layers.ts"

runProcess({
  name: "file-worker",
  layer,
  ready: ({ fileWorkerPort, host }) => `http://${host}:${fileWorkerPort}/health`
})
