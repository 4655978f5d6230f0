// The processes of the desk and what they listen on. `up` starts them, `status` asks them, `doctor` checks their ports.
import type { Settings } from "./Settings.ts"

export interface Listener {
  readonly variable: string
  readonly setting: PortSetting
  /** What a person finds there. */
  readonly serves: string
}

type PortSetting =
  | "commandPort"
  | "grpcPort"
  | "queryPort"
  | "realtimePort"
  | "filePort"
  | "eventWorkerPort"
  | "fileWorkerPort"

export interface Member {
  readonly name: string
  /** Also answers `/health/live`, `/health/ready` and `/metrics`. */
  readonly http: Listener
  readonly others: ReadonlyArray<Listener>
  /** For Node, before its program. */
  readonly nodeFlags: ReadonlyArray<string>
}

const listener = (variable: string, setting: PortSetting, serves: string): Listener => ({ variable, setting, serves })

const member = (name: string, http: Listener, more: Partial<Pick<Member, "others" | "nodeFlags">> = {}): Member => ({
  ...{ name, http, others: [], nodeFlags: [] },
  ...more
})

export const grpc = listener("HOLDFAST_GRPC_PORT", "grpcPort", "commands over gRPC")

export const commandApi = member(
  "command-api",
  listener("HOLDFAST_COMMAND_PORT", "commandPort", "commands over REST and RPC"),
  { others: [grpc] }
)
export const queryApi = member("query-api", listener("HOLDFAST_QUERY_PORT", "queryPort", "GraphQL and the status page"))
export const realtimeGateway = member(
  "realtime-gateway",
  listener("HOLDFAST_REALTIME_PORT", "realtimePort", "GraphQL subscriptions")
)
/**
 * Every piece that a connection brings is memory beside V8's heap, which only a collection gives back. With a young generation of the usual size
 * hardly a small collection comes before that memory makes V8 ask for a large one, which walks over everything that is loaded. With one of
 * 1 MiB small ones come first: measured over 512 MiB, none of 18 large ones was left, and a third less processor time and memory. Processes that
 * are started in other ways need the same (deploy/systemd, deploy/compose.yaml).
 */
const smallYoungGeneration = ["--max-semi-space-size=1"]

export const fileGateway = member("file-gateway", listener("HOLDFAST_FILE_PORT", "filePort", "uploads and downloads"), {
  nodeFlags: smallYoungGeneration
})
const eventWorker = member(
  "event-worker",
  listener("HOLDFAST_EVENT_WORKER_PORT", "eventWorkerPort", "health of the relay and the consumers")
)
const fileWorker = member(
  "file-worker",
  listener("HOLDFAST_FILE_WORKER_PORT", "fileWorkerPort", "health of the file pipeline")
)

export const fleet: ReadonlyArray<Member> = [
  commandApi,
  queryApi,
  realtimeGateway,
  fileGateway,
  eventWorker,
  fileWorker
]

export const portOf = (settings: Settings, { setting }: Listener): number => settings[setting]
