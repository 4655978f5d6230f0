// A proxy in front of each server that the desk's processes are told of, so that a drill can make any fault for any of them, wherever it
// runs. Only for a desk that was started to be drilled: each costs one hop more. They run in the supervisor itself; what passes
// through them is a few thousand small pieces a second, see decision 0014.
import { Drill } from "@holdfast/resilience/Limits"
import { type FaultProxy, type FaultTarget, faultProxy, type Fault as ProxyFault } from "@holdfast/testkit/Faults"
import { Effect, Option, Redacted, Schedule, type Scope } from "effect"
import type { Settings } from "../Settings.ts"
import type { Fault } from "./Outage.ts"
import { pickPrivatePort } from "./Ports.ts"

export interface FaultProxies {
  /** For every process, in place of the true addresses. */
  readonly environment: Readonly<Record<string, string>>
  readonly byDependency: ReadonlyMap<string, ReadonlyArray<FaultProxy>>
}

interface Role {
  readonly dependency: string
  readonly variable: string
  readonly url: Option.Option<string>
  readonly portDefault: number
}

/** The read side has a proxy of its own also where it has no server of its own. */
const rolesOf = (settings: Settings, databaseUrl: Redacted.Redacted<string>): ReadonlyArray<Role> => {
  const role = (dependency: string, variable: string, portDefault: number, url: Option.Option<string>): Role => ({
    ...{ dependency, variable, portDefault, url }
  })
  const database = Redacted.value(databaseUrl)
  const readDatabase = Option.match(settings.readDatabaseUrl, { onNone: () => database, onSome: Redacted.value })
  return [
    role("postgres", "HOLDFAST_DATABASE_URL", 5432, Option.some(database)),
    role("read-database", "HOLDFAST_READ_DATABASE_URL", 5432, Option.some(readDatabase)),
    role("rabbitmq", "HOLDFAST_RABBITMQ_URL", 5672, Option.map(settings.rabbitmqUrl, Redacted.value)),
    role("redis", "HOLDFAST_REDIS_URL", 6379, Option.map(settings.redisUrl, Redacted.value)),
    role("clamd", "HOLDFAST_CLAMD_URL", 3310, settings.clamdUrl),
    role("keys", "HOLDFAST_JWKS", 80, Option.some(settings.jwks))
  ]
}

/** A certificate names its server, so an encrypted connection cannot be led through another address; a file needs no proxy. */
const canBeLed = (url: string): boolean =>
  /^(postgres(ql)?|amqp|redis|tcp|http):\/\//.test(url) && !/sslmode=verify/.test(url)

export const startFaultProxies = Effect.fn("FaultProxies.start")(function* (
  settings: Settings,
  databaseUrl: Redacted.Redacted<string>
) {
  const environment: Record<string, string> = {}
  const byDependency = new Map<string, ReadonlyArray<FaultProxy>>()
  for (const { dependency, portDefault, url, variable } of rolesOf(settings, databaseUrl)) {
    // Several nodes of one role are a list of URLs.
    const nodes = Option.getOrElse(url, () => "").split(/,(?=\w+:\/\/)/)
    if (!nodes.every(canBeLed)) continue
    const led = yield* Effect.forEach(nodes, (node) => lead(node, portDefault))
    environment[variable] = led.map((one) => one.url).join(",")
    byDependency.set(
      dependency,
      led.map(({ proxy }) => proxy)
    )
  }
  return { environment, byDependency } satisfies FaultProxies
})

/** On a port that no outgoing connection is given: a client could connect to itself while nobody listens there. */
const lead = Effect.fnUntraced(function* (url: string, portDefault: number) {
  const proxy = yield* faultProxy(targetOf(url, portDefault), yield* pickPrivatePort("127.0.0.1"))
  return { proxy, url: proxy.through(url) }
})

const targetOf = (url: string, portDefault: number): FaultTarget => {
  const { hostname, port } = new URL(url)
  return { host: hostname.replace(/^\[|\]$/g, ""), port: port === "" ? portDefault : Number(port) }
}

const proxyFaults: Readonly<Record<Exclude<Fault, "flap">, ProxyFault>> = {
  kill: { _tag: "Refuse" },
  refuse: { _tag: "Refuse" },
  hang: { _tag: "Hang" },
  slow: { _tag: "Delay", duration: Drill.slowDelay },
  "lost-answer": { _tag: "LoseAnswers" }
}

const setAll = (proxies: ReadonlyArray<FaultProxy>, fault: ProxyFault) =>
  Effect.forEach(proxies, (proxy) => proxy.set(fault), { discard: true })

/** Holds until the scope closes; then everything passes again. */
export const breakProxies = (
  proxies: ReadonlyArray<FaultProxy>,
  fault: Fault
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    yield* Effect.addFinalizer(() => setAll(proxies, { _tag: "Pass" }))
    if (fault !== "flap") return yield* setAll(proxies, proxyFaults[fault])
    yield* setAll(proxies, proxyFaults.refuse)
    yield* Effect.forkScoped(flap(proxies))
  })

const flap = (proxies: ReadonlyArray<FaultProxy>) => {
  let away = true
  return Effect.suspend(() => {
    away = !away
    return setAll(proxies, away ? proxyFaults.refuse : { _tag: "Pass" })
  }).pipe(Effect.delay(Drill.flapInterval), Effect.repeat(Schedule.forever))
}
