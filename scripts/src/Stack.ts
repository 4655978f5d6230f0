// The private servers of a test run: PostgreSQL, RabbitMQ, Redis and clamd, each on its own port and folder. `startStack`
// runs them under the calling process; `hostStack` under a process of their own that ends them as soon as the caller is
// gone, however it went. A fault test starts its own with `only` and kills, hangs and restarts them through `servers`.
import { randomUUID } from "node:crypto"
import { mkdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { clamdPlan } from "./ClamdServer.ts"
import { choosePort } from "./Ports.ts"
import { postgresFolder, postgresPlan } from "./PostgresServer.ts"
import { epmdPlan, rabbitMqPlan } from "./RabbitMqServer.ts"
import { redisPlan } from "./RedisServer.ts"
import { type ServerPlan, ServerProcess } from "./ServerProcess.ts"

export const serverNames = ["postgres", "rabbitmq", "redis", "clamd"] as const
export type ServerName = (typeof serverNames)[number]

export interface StackOptions {
  /** Where the servers keep everything; it must not be in use. By default a new one among the temporary files. */
  readonly folder?: string
  readonly only?: ReadonlyArray<ServerName>
  /** Takes the well-known ports where they are free. Otherwise any, so that stacks starting at once never meet. */
  readonly wellKnownPorts?: boolean
  /** Told each step, for people who wait. */
  readonly report?: (line: string) => void
}

export interface Stack {
  readonly folder: string
  readonly servers: ReadonlyMap<string, ServerProcess>
  /** The variables by which tests find the servers. */
  readonly environment: Readonly<Record<string, string>>
  /** Ends every server and removes all of their files. */
  readonly stop: () => Promise<void>
}

const wellKnownPorts = { clamd: 7531, postgres: 7532, amqp: 7572, distribution: 7573, epmd: 7574, redis: 7579 }

/** By which variable the tests find each server. */
export const serverVariables: Readonly<Record<ServerName, string>> = {
  postgres: "HOLDFAST_TEST_DATABASE_URL",
  rabbitmq: "HOLDFAST_TEST_RABBITMQ_URL",
  redis: "HOLDFAST_TEST_REDIS_URL",
  clamd: "HOLDFAST_TEST_CLAMD_URL"
}

/** Starts the servers side by side and returns once each answers; if one fails, none is left running. */
export const startStack = async (options: StackOptions = {}): Promise<Stack> => {
  const folder = options.folder ?? join(tmpdir(), `holdfast-stack-${randomUUID()}`)
  mkdirSync(folder, { recursive: true })
  const plans = await planServers(folder, options)
  const servers = new Map(plans.map((plan) => [plan.name, new ServerProcess(plan)]))
  const stop = () => stopServers(folder, servers)
  process.once("exit", () => endAtOnce(servers))
  try {
    await startServers([...servers.values()], options.report ?? (() => {}))
  } catch (cause) {
    await stop()
    throw cause
  }
  return { folder, servers, environment: environmentOf(plans), stop }
}

/** Every folder in which a stack keeps files. */
export const stackFolders = (folder: string): ReadonlyArray<string> => [postgresFolder(folder), folder]

const planServers = async (folder: string, options: StackOptions): Promise<ReadonlyArray<ServerPlan>> => {
  const only = options.only ?? serverNames
  const taken = new Set<number>()
  const port = (name: keyof typeof wellKnownPorts) =>
    choosePort(options.wellKnownPorts === true ? wellKnownPorts[name] : undefined, taken)
  const plans: Array<ServerPlan> = []
  if (only.includes("postgres")) plans.push(postgresPlan(folder, await port("postgres")))
  if (only.includes("rabbitmq")) {
    const ports = { amqp: await port("amqp"), distribution: await port("distribution"), epmd: await port("epmd") }
    plans.push(epmdPlan(folder, ports), rabbitMqPlan(folder, ports))
  }
  if (only.includes("redis")) plans.push(redisPlan(folder, await port("redis")))
  if (only.includes("clamd")) plans.push(clamdPlan(folder, await port("clamd")))
  return plans
}

const startServers = async (servers: ReadonlyArray<ServerProcess>, report: (line: string) => void): Promise<void> => {
  // The port mapper first: RabbitMQ would otherwise start one of its own.
  const first = servers.filter((server) => server.plan.name === "epmd")
  const rest = servers.filter((server) => server.plan.name !== "epmd")
  for (const batch of [first, rest]) {
    const results = await Promise.allSettled(batch.map((server) => startReported(server, report)))
    for (const result of results) if (result.status === "rejected") throw result.reason
  }
}

const startReported = async (server: ServerProcess, report: (line: string) => void): Promise<void> => {
  const began = Date.now()
  await server.start()
  report(`${server.plan.name} answers on ${server.plan.url} after ${((Date.now() - began) / 1000).toFixed(1)} s`)
}

const stopServers = async (folder: string, servers: ReadonlyMap<string, ServerProcess>): Promise<void> => {
  const mapper = servers.get("epmd")
  const others = [...servers.values()].filter((server) => server !== mapper)
  const results = await Promise.allSettled(others.map((server) => server.stop()))
  if (mapper !== undefined) await mapper.stop()
  for (const path of stackFolders(folder)) rmSync(path, { recursive: true, force: true })
  for (const result of results) if (result.status === "rejected") throw result.reason
}

// The last resort, when there is no time for anything orderly.
const endAtOnce = (servers: ReadonlyMap<string, ServerProcess>): void => {
  for (const server of servers.values()) server.signal("SIGKILL")
}

const environmentOf = (plans: ReadonlyArray<ServerPlan>): Record<string, string> => {
  const found: Record<string, string> = {}
  for (const name of serverNames) {
    const plan = plans.find((candidate) => candidate.name === name)
    if (plan !== undefined) found[serverVariables[name]] = plan.url
  }
  return found
}
