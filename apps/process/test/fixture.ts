// A small process for Main.test.ts: serves its health, and does what FIXTURE says.
import { Deferred, Effect, Layer } from "effect"
import { Settings } from "../src/Config.ts"
import * as HealthRoutes from "../src/HealthRoutes.ts"
import { serve } from "../src/HttpServer.ts"
import { runProcess } from "../src/Main.ts"

const web = Layer.unwrap(
  Settings.use(({ commandPort, host }) =>
    Effect.succeed(
      serve(HealthRoutes.layer({ process: "fixture", needs: [] }), {
        host,
        port: commandPort,
        portVariable: "HOLDFAST_COMMAND_PORT"
      })
    )
  )
)

const behaviours: Record<string, Layer.Layer<never, Error>> = {
  broken: Layer.effectDiscard(Effect.die(new Error("a bug of ours"))),
  slow: Layer.effectDiscard(Effect.addFinalizer(() => Effect.logInfo("draining")))
}

// Keeps the type of a layer that waits: a process that is stopped before it is ready.
const waiting = Layer.effectDiscard(Effect.flatMap(Deferred.make<void>(), Deferred.await))

runProcess({
  name: "fixture",
  layer: Layer.mergeAll(
    web,
    process.env.FIXTURE === "waiting" ? waiting : (behaviours[process.env.FIXTURE ?? ""] ?? Layer.empty)
  ),
  ready: ({ commandPort, host }) => `http://${host}:${commandPort}`
})
