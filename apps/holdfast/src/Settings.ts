// What the command line reads from the environment: the settings of every process, and what only the supervisor needs.
import { join, resolve } from "node:path"
import { type ProcessSettings, Settings as ProcessSettingsTag } from "@holdfast/process/Config"
import { Supervisor } from "@holdfast/resilience/Limits"
import { Config, ConfigProvider, Effect, type Option, Schema } from "effect"
import { refuse } from "./Refusal.ts"

export interface Settings extends ProcessSettings {
  /** Unset: a free one outside the range of outgoing connections. */
  readonly postgresPort: Option.Option<number>
  /** Tokens are made here, with the desk's own key, and not by an identity provider. */
  readonly ownTokens: boolean
  /** Of each process. */
  readonly copies: number
  /** With a proxy in front of every server that the processes are told of, for drills to break. */
  readonly drillable: boolean
}

const postgresPort = Config.option(Config.Port("HOLDFAST_POSTGRES_PORT"))

export const CopiesAllowed = Schema.Int.check(
  Schema.isBetween(
    { minimum: 1, maximum: Supervisor.copiesMax },
    { expected: `a whole number from 1 to ${Supervisor.copiesMax}` }
  )
)
const Copies = Schema.FiniteFromString.pipe(Schema.decodeTo(CopiesAllowed))
const copies = Config.withDefault(Config.schema(Copies, "HOLDFAST_COPIES"), 1)
const drillable = Config.withDefault(Config.Boolean("HOLDFAST_DRILLABLE"), false)

export const readSettings: Effect.Effect<Settings, ReturnType<typeof refuse>> = Effect.gen(function* () {
  const settings = yield* ProcessSettingsTag
  const dataDir = resolve(settings.dataDir)
  return {
    ...settings,
    dataDir,
    downloadKeyFile: resolve(settings.downloadKeyFile),
    postgresPort: yield* postgresPort.parse(ConfigProvider.fromEnv()),
    copies: yield* copies.parse(ConfigProvider.fromEnv()),
    drillable: yield* drillable.parse(ConfigProvider.fromEnv()),
    ownTokens: resolve(settings.jwks) === join(dataDir, "keys", "jwks.json")
  }
}).pipe(
  Effect.provide(ProcessSettingsTag.layer),
  Effect.mapError((error) => refuse(error.message))
)

/** The address to reach a listener from this machine: one that listens everywhere is asked on loopback. */
export const localHost = (host: string): string => (host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host)
