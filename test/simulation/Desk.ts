// A whole simulated desk: its servers, its processes and what it has promised so far.
import type { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import type { QueryExecutor } from "@holdfast/queries/graphql/Execute"
import type { FaultPlan } from "./FaultPlan.ts"
import type { FileDoor } from "./FileDoor.ts"
import { Ledger } from "./Ledger.ts"
import { type Boot, Member } from "./Member.ts"
import type { Mutation } from "./Mutation.ts"
import * as Processes from "./Processes.ts"
import { Servers } from "./Servers.ts"
import type { SimulatedGateway } from "./SimulatedGateway.ts"
import type { SimulatedProcess } from "./SimulatedProcess.ts"
import type { World } from "./World.ts"

export class Desk {
  readonly world: World
  readonly plan: FaultPlan
  readonly servers: Servers
  readonly ledger: Ledger
  readonly commandApis: ReadonlyArray<Member<CommandBus>>
  readonly queryApis: ReadonlyArray<Member<QueryExecutor>>
  readonly gateways: ReadonlyArray<Member<SimulatedGateway>>
  readonly fileGateways: ReadonlyArray<Member<FileDoor>>
  readonly workers: ReadonlyArray<Member<never>>

  constructor(world: World, plan: FaultPlan, mutation: Mutation) {
    this.world = world
    this.plan = plan
    this.ledger = new Ledger(world)
    this.servers = new Servers(world, plan, this.ledger, mutation)
    const around: Processes.Surroundings = { plan, servers: this.servers, ledger: this.ledger, mutation }
    const members = <S>(
      kind: string,
      boot: (around: Processes.Surroundings, process: SimulatedProcess) => ReturnType<Boot<S>>
    ) =>
      plan.members
        .filter((name) => name.startsWith(kind))
        .map((name) => new Member<S>(world, name, plan.skewMs[name] ?? 0, (process) => boot(around, process)))
    this.commandApis = members("command-api", Processes.commandApi)
    this.queryApis = members("query-api", Processes.queryApi)
    this.gateways = members("gateway", Processes.gateway)
    this.fileGateways = members("file-gateway", Processes.fileGateway)
    this.workers = [...members("event-worker", Processes.eventWorker), ...members("file-worker", Processes.fileWorker)]
  }

  get members(): ReadonlyArray<Startable> {
    return [...this.commandApis, ...this.queryApis, ...this.gateways, ...this.fileGateways, ...this.workers]
  }

  member(name: string): Startable | undefined {
    return this.members.find((one) => one.name === name)
  }
}

export type Startable = Pick<Member<never>, "name" | "start" | "crash" | "stop" | "pause">
