// Starts the file worker.
import { setFlagsFromString } from "node:v8"
import { runProcess } from "@holdfast/process/Main"
import { layer } from "./layers.ts"

// Content passes through in pieces that V8 does not hold itself. By default it collects garbage for every few of them, which takes as much time as
// reading them; counted with everything else they wait until there is something to collect. `pnpm bench scan` shows it.
setFlagsFromString("--external-memory-accounted-in-global-limit")

runProcess({
  name: "file-worker",
  layer,
  ready: ({ fileWorkerPort, host }) => `http://${host}:${fileWorkerPort}/health`
})
