// The simulation is as true as its adapters: each is held to the suite that the real layers of its adapter are held to.
import { Broker } from "@holdfast/broker/Broker"
import { Cache } from "@holdfast/cache/Cache"
import { Health } from "@holdfast/resilience/Health"
import { Scanner } from "@holdfast/scanner/Scanner"
import { Quarantine } from "@holdfast/storage/BlobStore"
import { Context, Effect, Layer, type Scope } from "effect"
import * as BrokerContract from "../../packages/adapters/broker/test/BrokerContract.ts"
import * as CacheContract from "../../packages/adapters/cache/test/CacheContract.ts"
import * as ScannerContract from "../../packages/adapters/scanner/test/ScannerContract.ts"
import * as BlobStoreContract from "../../packages/adapters/storage/test/BlobStoreContract.ts"
import { CacheModel } from "./CacheModel.ts"
import type { ServerName } from "./FaultPlan.ts"
import { RabbitModel } from "./RabbitModel.ts"
import { simulatedBroker } from "./SimulatedBroker.ts"
import { simulatedCache } from "./SimulatedCache.ts"
import { diskGuard, simulatedBlobs } from "./SimulatedDisk.ts"
import type { SimulatedProcess } from "./SimulatedProcess.ts"
import { SimulatedServer } from "./SimulatedServer.ts"
import { simulatedScanner } from "./SimulatedTools.ts"
import { World } from "./World.ts"

type Made<S> = Effect.Effect<Context.Context<S>, never, Scope.Scope | Health>

/** A server and a process in a world whose time moves on by itself. */
const simulated = <S>(name: ServerName, make: (process: SimulatedProcess, server: SimulatedServer) => Made<S>) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const world = new World(1)
      yield* Effect.acquireRelease(
        Effect.sync(() => setInterval(() => void world.runUntil(world.nowMs + 10), 1)),
        (interval) => Effect.sync(() => clearInterval(interval))
      )
      return yield* make(world.process("tester"), new SimulatedServer(world, name))
    })
  ).pipe(Layer.provide(Health.layer))

BrokerContract.contract(
  "simulated",
  simulated("broker", (process, server) => {
    const model = new RabbitModel(server, 10_000, () => {})
    let last = 0
    const publishing = BrokerContract.Publishing.of({
      nextPosition: Effect.sync(() => last + 1),
      publish: (envelopes) =>
        Effect.sync(() => {
          last = Math.max(last, ...envelopes.map(({ position }) => position))
          model.publish(envelopes)
        })
    })
    return Effect.map(simulatedBroker(process, server, model), (broker) =>
      Context.make(Broker, broker).pipe(Context.add(BrokerContract.Publishing, publishing))
    )
  })
)

CacheContract.contract(
  "simulated",
  simulated("cache", (process, server) =>
    Effect.map(simulatedCache(process, server, new CacheModel()), (cache) => Context.make(Cache, cache))
  )
)

BlobStoreContract.contract(
  "a simulated disk",
  simulated("disk", (process, server) =>
    Effect.map(diskGuard(process, server), (disk) => Context.make(Quarantine, simulatedBlobs(disk, new Map())))
  )
)

ScannerContract.contract(
  "simulated",
  simulated("scanner", (process, server) =>
    Effect.map(simulatedScanner(process, server), (scanner) => Context.make(Scanner, scanner))
  )
)
