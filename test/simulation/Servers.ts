// Everything that a desk stands on, simulated: the servers with what they hold, and what becomes of them when trouble comes and goes.
import { CacheModel } from "./CacheModel.ts"
import { type FaultPlan, noFaults, type ServerName, serverNames } from "./FaultPlan.ts"
import type { Ledger } from "./Ledger.ts"
import type { Mutation } from "./Mutation.ts"
import { PostgresCore } from "./PostgresCore.ts"
import { PostgresReactions } from "./PostgresReactions.ts"
import { PostgresRead } from "./PostgresRead.ts"
import { Leaders } from "./PostgresServices.ts"
import { RabbitModel } from "./RabbitModel.ts"
import { DiskModel } from "./SimulatedDisk.ts"
import { SimulatedServer } from "./SimulatedServer.ts"
import type { World } from "./World.ts"

export class Servers {
  readonly named: ReadonlyMap<ServerName, SimulatedServer>
  readonly core: PostgresCore
  readonly reactions: PostgresReactions
  readonly read = new PostgresRead()
  readonly leaders: Leaders
  readonly rabbit: RabbitModel
  readonly cache = new CacheModel()
  readonly disk = new DiskModel()
  readonly #plan: FaultPlan

  constructor(world: World, plan: FaultPlan, ledger: Ledger, mutation: Mutation) {
    this.#plan = plan
    this.named = new Map(serverNames.map((name) => [name, new SimulatedServer(world, name)]))
    this.core = new PostgresCore(this.server("database"), ledger, mutation.forgetsReceipts ?? false)
    this.reactions = new PostgresReactions(() => world.nowMs)
    this.leaders = new Leaders(this.server("database"))
    this.rabbit = new RabbitModel(this.server("broker"), plan.changesEventsMax, (envelope) =>
      ledger.published(envelope)
    )
  }

  server(name: ServerName): SimulatedServer {
    const found = this.named.get(name)
    if (found === undefined) throw new Error(`no server ${name}`)
    return found
  }

  trouble(): void {
    for (const [name, server] of this.named) server.faults = this.#plan.faults[name]
  }

  heal(): void {
    for (const server of this.named.values()) {
      server.faults = noFaults
      this.recover(server)
    }
  }

  recover(server: SimulatedServer): void {
    server.recover()
    if (server.name === "broker") this.rabbit.pumpAll()
  }

  /** With a database goes what shares its machine. */
  together(name: ServerName): ReadonlyArray<SimulatedServer> {
    const isShared = !this.#plan.readApart && (name === "database" || name === "read-database")
    return (isShared ? (["database", "read-database"] as const) : [name]).map((one) => this.server(one))
  }
}
