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
}

const listener = (variable: string, setting: PortSetting, serves: string): Listener => ({ variable, setting, serves })

const member = (name: string, http: Listener, others: ReadonlyArray<Listener> = []): Member => ({ name, http, others })

export const grpc = listener("HOLDFAST_GRPC_PORT", "grpcPort", "commands over gRPC")

export const commandApi = member(
  "command-api",
  listener("HOLDFAST_COMMAND_PORT", "commandPort", "commands over REST and RPC"),
  [grpc]
)
export const queryApi = member("query-api", listener("HOLDFAST_QUERY_PORT", "queryPort", "GraphQL and the status page"))
export const realtimeGateway = member(
  "realtime-gateway",
  listener("HOLDFAST_REALTIME_PORT", "realtimePort", "GraphQL subscriptions")
)
export const fileGateway = member("file-gateway", listener("HOLDFAST_FILE_PORT", "filePort", "uploads and downloads"))
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
