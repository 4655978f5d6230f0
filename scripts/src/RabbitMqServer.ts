// A private RabbitMQ for tests with the plugin that our topology uses, and the Erlang port mapper it needs. Both have
// ports of their own, so that a broker already running on the machine neither meets nor disturbs them.
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { requireExecutable } from "./Binaries.ts"
import type { ServerPlan } from "./ServerProcess.ts"

export interface RabbitMqPorts {
  readonly amqp: number
  readonly distribution: number
  readonly epmd: number
}

/** The Erlang port mapper; started by ourselves, as the one that Erlang starts on its own would outlive everything. */
export const epmdPlan = (root: string, ports: RabbitMqPorts): ServerPlan => ({
  name: "epmd",
  port: ports.epmd,
  url: `tcp://127.0.0.1:${ports.epmd}`,
  folder: join(root, "epmd"),
  prepare: async () => {},
  command: [requireExecutable("epmd"), "-port", String(ports.epmd), "-address", "127.0.0.1"],
  environment: {},
  user: undefined,
  greeting: { send: Buffer.from([0, 1, "n".charCodeAt(0)]), expect: uint32(ports.epmd) },
  stopSignal: "SIGTERM"
})

export const rabbitMqPlan = (root: string, ports: RabbitMqPorts): ServerPlan => {
  const folder = join(root, "rabbitmq")
  return {
    name: "rabbitmq",
    port: ports.amqp,
    url: `amqp://guest:guest@127.0.0.1:${ports.amqp}`,
    folder,
    prepare: async () => writeFiles(folder, ports),
    command: [requireExecutable("rabbitmq-server")],
    environment: environment(folder, ports),
    user: undefined,
    // The protocol header; a ready broker answers with a method frame on channel 0.
    greeting: { send: Buffer.from("AMQP\0\0\x09\x01", "latin1"), expect: Buffer.from([1, 0, 0]) },
    stopSignal: "SIGTERM"
  }
}

const writeFiles = (folder: string, ports: RabbitMqPorts) => {
  rmSync(join(folder, "mnesia"), { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, "enabled_plugins"), "[].\n")
  writeFileSync(join(folder, "rabbitmq.conf"), `listeners.tcp.1 = 127.0.0.1:${ports.amqp}\n`)
  const cookie = join(folder, ".erlang.cookie")
  rmSync(cookie, { force: true })
  writeFileSync(cookie, `holdfast${ports.distribution}`)
  chmodSync(cookie, 0o400)
}

const environment = (folder: string, ports: RabbitMqPorts) => ({
  HOME: folder,
  ERL_EPMD_PORT: String(ports.epmd),
  RABBITMQ_NODENAME: `holdfast-${ports.amqp}@localhost`,
  RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
  RABBITMQ_NODE_PORT: String(ports.amqp),
  RABBITMQ_DIST_PORT: String(ports.distribution),
  RABBITMQ_MNESIA_BASE: join(folder, "mnesia"),
  RABBITMQ_LOG_BASE: join(folder, "log"),
  RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq.conf"),
  RABBITMQ_CONF_ENV_FILE: join(folder, "no-rabbitmq-env.conf"),
  RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "enabled_plugins"),
  RABBITMQ_PID_FILE: join(folder, "pid"),
  // Idle schedulers sleep instead of spinning: the tests share two cores with them.
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
    "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
  // The start script then becomes the server instead of waiting beside it, so our signals reach the server.
  RUNNING_UNDER_SYSTEMD: "true"
})

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
