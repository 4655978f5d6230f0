// What an operator of RabbitMQ does and what befalls it, for tests: rabbitmqctl against a private node, a lost data folder, and three nodes
// as one cluster.
import { execFile } from "node:child_process"
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { requireExecutable } from "@holdfast/scripts/Binaries"
import { choosePort } from "@holdfast/scripts/Ports"
import { epmdPlan, rabbitMqPlan } from "@holdfast/scripts/RabbitMqServer"
import { type ServerPlan, ServerProcess } from "@holdfast/scripts/ServerProcess"

const run = promisify(execFile)

/** One sentence of rabbitmqctl to one node. */
export const rabbitmqctl = async (rabbit: ServerProcess, ...sentence: ReadonlyArray<string>): Promise<string> => {
  const { environment } = rabbit.plan
  // It stands beside the server's script; the one on the PATH changes user and folder.
  const program = join(requireExecutable("rabbitmq-server"), "../rabbitmqctl")
  const { stdout } = await run(program, [...sentence], { env: { PATH: process.env.PATH, ...environment } })
  return stdout
}

/** As after a restore onto an empty disk. */
export const loseData = async (rabbit: ServerProcess): Promise<void> => {
  await rabbit.kill()
  rmSync(join(rabbit.plan.folder, "mnesia"), { recursive: true, force: true })
}

export interface Cluster {
  readonly nodes: ReadonlyArray<ServerProcess>
  /** All of them, as a process is given them. */
  readonly url: string
  readonly stop: () => Promise<void>
}

/** Three nodes that know each other from their first start. */
export const startCluster = async (): Promise<Cluster> => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-rabbits-"))
  const taken = new Set<number>()
  const epmd = await choosePort(undefined, taken)
  const plans: Array<ServerPlan> = []
  for (const name of ["one", "two", "three"]) {
    const ports = { amqp: await choosePort(undefined, taken), distribution: await choosePort(undefined, taken), epmd }
    plans.push(rabbitMqPlan(join(folder, name), ports))
  }
  const mapper = new ServerProcess(epmdPlan(folder, { epmd, amqp: epmd, distribution: epmd }))
  const nodes = plans.map((plan) => new ServerProcess(inCluster(plan, plans)))
  const stop = async () => {
    await Promise.allSettled(nodes.map((node) => node.kill()))
    await mapper.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await mapper.start()
    // The first one is there for the others to join.
    const [first, ...others] = nodes
    await first?.start()
    await Promise.all(others.map((node) => node.start()))
  } catch (cause) {
    await stop()
    throw cause
  }
  return { nodes, url: plans.map(({ url }) => url).join(","), stop }
}

const inCluster = (plan: ServerPlan, all: ReadonlyArray<ServerPlan>): ServerPlan => ({
  ...plan,
  prepare: async () => {
    await plan.prepare()
    const cookie = join(plan.folder, ".erlang.cookie")
    rmSync(cookie, { force: true })
    writeFileSync(cookie, "holdfast-cluster")
    chmodSync(cookie, 0o400)
    mkdirSync(plan.folder, { recursive: true })
    appendFileSync(join(plan.folder, "rabbitmq.conf"), formation(all))
  }
})

const formation = (all: ReadonlyArray<ServerPlan>): string =>
  [
    "cluster_formation.peer_discovery_backend = classic_config",
    "cluster_formation.randomized_startup_delay_range.min = 0",
    "cluster_formation.randomized_startup_delay_range.max = 1",
    ...all.map(
      ({ environment }, index) =>
        `cluster_formation.classic_config.nodes.${index + 1} = ${environment.RABBITMQ_NODENAME}`
    ),
    ""
  ].join("\n")
