// A second PostgreSQL that follows the first by streaming replication, as `pg_basebackup` makes one. Once it follows, the first one
// commits nothing without it.
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { requireExecutable } from "@holdfast/scripts/Binaries"
import { choosePort } from "@holdfast/scripts/Ports"
import { ServerProcess } from "@holdfast/scripts/ServerProcess"
import { until } from "../../flows/Clients.ts"
import { type Truth, truthAt } from "./Truth.ts"

const run = promisify(execFile)

/** Runs, and every commit of the primary waits for it. */
export const startStandby = async (primary: ServerProcess, name: string): Promise<ServerProcess> => {
  const { folder: home, user } = primary.plan
  const port = await choosePort(undefined, new Set())
  const folder = join(home, name)
  const data = join(folder, "data")
  const follow = `host=127.0.0.1 port=${primary.plan.port} user=postgres application_name=${name}`
  const standby = new ServerProcess({
    ...primary.plan,
    name,
    port,
    folder: home,
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    prepare: async () => {
      const options = ["--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--dbname", follow, "-D", data]
      await run(requireExecutable("pg_basebackup"), options, { cwd: home, ...user })
    },
    command: [requireExecutable("postgres"), "-D", data, "-c", `port=${port}`]
  })
  await standby.start()
  await followed(truthAt(primary.plan.url), name)
  return standby
}

const followed = async (primary: Truth, name: string): Promise<void> => {
  await primary.ask(`ALTER SYSTEM SET synchronous_standby_names = '${name}'`)
  await primary.ask("SELECT pg_reload_conf()")
  await until(`${name} is synchronous`, async () => {
    const [row] = await primary.ask<{ s: string }>(
      "SELECT sync_state AS s FROM pg_stat_replication WHERE application_name = $1",
      [name]
    )
    return row?.s === "sync" ? true : null
  })
}

/** It takes writes when this returns. Its own commits wait for nobody, whatever it copied from the one before it. */
export const promote = async (standby: ServerProcess): Promise<void> => {
  const truth = truthAt(standby.plan.url)
  await truth.ask("SELECT pg_promote()")
  await truth.ask("ALTER SYSTEM RESET synchronous_standby_names")
  await truth.ask("SELECT pg_reload_conf()")
}
