// The cache adapter's service on the simulated server.
import type { Cache } from "@holdfast/cache/Cache"
import { Cache as Limits } from "@holdfast/resilience/Limits"
import { Effect } from "effect"
import type { CacheModel } from "./CacheModel.ts"
import type { SimulatedProcess } from "./SimulatedProcess.ts"
import { guarded, type SimulatedServer } from "./SimulatedServer.ts"

export const simulatedCache = (process: SimulatedProcess, server: SimulatedServer, model: CacheModel) =>
  Effect.map(
    guarded(process, server, {
      dependency: "cache",
      deadline: Limits.writeDeadline,
      concurrencyMax: Limits.callsUnderWayMax,
      acquireDeadline: Limits.acquireDeadline
    }),
    ({ call }): Cache["Service"] => ({
      getMany: (keys) => call(() => keys.map((key) => model.get(key))),
      put: (entries) =>
        call(() => {
          for (const entry of entries) model.put(entry)
        }),
      remove: (keys) => call(() => model.remove(keys)),
      page: (list, first, after) => call(() => model.page(list, first, after)),
      search: (search) => call(() => model.search(search)),
      progress: call(() => model.progress),
      beginFilling: call(() => model.beginFilling()),
      advance: (change) => call(() => model.advance(change))
    })
  )
