// What is done to the desk and in which order, all of it following from the seed.
import type { ServerName } from "@holdfast/scripts/Stack"
import type { Seed } from "../simulation/Seed.ts"
import type { DrillDesk } from "./DrillDesk.ts"
import { type Harm, hangProcesses, hangServer, killProcesses, killServer } from "./Harms.ts"

export const deskProcesses = [
  "command-api",
  "query-api",
  "realtime-gateway",
  "file-gateway",
  "event-worker",
  "file-worker"
] as const

/** Half of the cycles kill the desk's own processes, in every combination before any comes twice; a quarter each kill PostgreSQL and RabbitMQ. */
export const killCycles = (desk: DrillDesk, seed: Seed, count: number): ReadonlyArray<Harm> => {
  const combinations = shuffled(seed, subsets(deskProcesses))
  const own = Array.from({ length: Math.ceil(count / 2) }, (_, index) =>
    killProcesses(desk, combinations[index % combinations.length] ?? deskProcesses)
  )
  const servers = Array.from({ length: Math.floor(count / 2) }, (_, index) =>
    killServer(desk, index % 2 === 0 ? "postgres" : "rabbitmq")
  )
  return shuffled(seed, [...own, ...servers])
}

const serverNames: ReadonlyArray<ServerName> = ["postgres", "rabbitmq", "redis", "clamd"]

/** Any server or any of the desk's processes, killed or hung. */
export const anyHarm = (desk: DrillDesk, seed: Seed): Harm => {
  const isKill = seed.chance(0.5)
  if (seed.chance(0.5)) return (isKill ? killServer : hangServer)(desk, seed.pick(serverNames))
  return (isKill ? killProcesses : hangProcesses)(desk, [seed.pick(deskProcesses)])
}

/** Two at a time, of different victims. */
export const anyTwoHarms = (desk: DrillDesk, seed: Seed): readonly [Harm, Harm] => {
  const first = anyHarm(desk, seed)
  let second = anyHarm(desk, seed)
  while (second.victims.some((victim) => first.victims.includes(victim))) second = anyHarm(desk, seed)
  return [first, second]
}

/** Every choice of at least one. */
const subsets = <A>(of: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: 2 ** of.length - 1 }, (_, bits) => of.filter((_one, index) => ((bits + 1) >> index) % 2 === 1))

/** Fisher and Yates. */
const shuffled = <A>(seed: Seed, list: ReadonlyArray<A>): ReadonlyArray<A> => {
  const rest = [...list]
  return list.map(() => {
    const index = seed.below(rest.length)
    const picked = seed.pick(rest.slice(index, index + 1))
    rest.splice(index, 1)
    return picked
  })
}
