// What runs where, as rows for the table, for the desk's file and for machines.
import { Option } from "effect"
import { fleet, grpc, type Listener, portOf } from "../Fleet.ts"
import { localHost, type Settings } from "../Settings.ts"
import { table } from "../Table.ts"
import { postgresPort, type Wanted } from "./Ports.ts"

export interface Address {
  readonly name: string
  readonly serves: string
  readonly url: string
}

export const wantedPorts = (settings: Settings, ownPostgres: number | null): ReadonlyArray<Wanted> => [
  ...fleet
    .flatMap(({ http, others }) => [http, ...others])
    .map((one) => ({ variable: one.variable, serves: one.serves, port: portOf(settings, one) })),
  ...(ownPostgres === null ? [] : [postgresPort(ownPostgres)])
]

/** Where this machine reaches a listener. */
export const baseUrl = (settings: Settings, listener: Listener): string => {
  const host = localHost(settings.host)
  return `http://${host.includes(":") ? `[${host}]` : host}:${portOf(settings, listener)}`
}

export const addresses = (settings: Settings, ownPostgres: number | null): ReadonlyArray<Address> => [
  ...fleet.flatMap(({ http, name, others }) =>
    [http, ...others].map((one) => {
      const url = baseUrl(settings, one)
      return { name, serves: one.serves, url: one === grpc ? url.replace("http://", "grpc://") : url }
    })
  ),
  ...(ownPostgres === null ? [] : [{ name: "postgresql", serves: "data", url: `postgres://127.0.0.1:${ownPostgres}` }])
]

/** The roles that outside servers play, and which of them are stood in for. */
export const standIns = (settings: Settings): ReadonlyArray<readonly [role: string, by: string]> => [
  ["database", Option.isSome(settings.databaseUrl) ? "HOLDFAST_DATABASE_URL" : "a PostgreSQL 18 of the desk's own"],
  ["broker", Option.isSome(settings.rabbitmqUrl) ? "HOLDFAST_RABBITMQ_URL" : "the event log itself"],
  ["cache", Option.isSome(settings.redisUrl) ? "HOLDFAST_REDIS_URL" : "an SQLite file"],
  ["scanner", Option.isSome(settings.clamdUrl) ? "HOLDFAST_CLAMD_URL" : "the content policy scanner"]
]

export const addressTable = (rows: ReadonlyArray<Address>): string =>
  table(
    ["process", "serves", "address"],
    rows.map(({ name, serves, url }) => [name, serves, url])
  )
