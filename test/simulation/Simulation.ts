// One seed from beginning to end: a desk under load and trouble, then all faults healed and time let run until everything has caught up, then
// every invariant. The same seed gives the same world, event by event.
import type { ConsumerGroup } from "@holdfast/broker/Broker"
import { Clients } from "./Clients.ts"
import type { Coverage } from "./Coverage.ts"
import { Desk } from "./Desk.ts"
import { type Focus, planFor } from "./FaultPlan.ts"
import { checkAll } from "./Invariants.ts"
import type { Mutation } from "./Mutation.ts"
import { enterWorld } from "./SimulatedGlobals.ts"
import { Subscribers } from "./Subscribers.ts"
import { epochMs, type Violation, World } from "./World.ts"

/** Many short worlds meet more than few long ones; some take long to go wrong. */
const stepsOf = (seed: number): number => (seed % 10 === 0 ? 150 : 30)

export interface Told {
  readonly seed: number
  readonly violation: Violation | null
  readonly trace: ReadonlyArray<string>
  readonly traceHash: number
  readonly coverage: Coverage
  readonly steps: number
  readonly virtualMs: number
}

interface Options {
  readonly mutation?: Mutation
  readonly focus?: Focus
}

/** Must run within `withSimulatedGlobals`. */
export const simulate = async (seed: number, { focus, mutation = {} }: Options = {}): Promise<Told> => {
  const world = new World(seed)
  enterWorld(world)
  const plan = planFor(world.seed, stepsOf(seed), focus ?? null)
  const desk = new Desk(world, plan, mutation)
  const clients = new Clients(desk)
  const subscribers = new Subscribers(desk, clients, mutation)
  for (const member of desk.members) member.start()
  await world.runUntil(epochMs + startMs)
  schedule(desk, subscribers)
  clients.begin(thinkShare * plan.troubleMs)
  await world.runUntil(epochMs + startMs + plan.troubleMs)
  heal(desk, clients)
  await settle(desk, clients, subscribers)
  if (world.violation === null) {
    checkAll(desk)
    subscribers.check()
  }
  return {
    seed,
    violation: world.violation,
    trace: world.trace,
    traceHash: world.traceHash,
    coverage: world.coverage,
    steps: clients.stepsDone,
    virtualMs: world.nowMs - epochMs
  }
}

const startMs = 200
/** Five people take 150 steps within the time of trouble. */
const thinkShare = 0.018

const schedule = (desk: Desk, subscribers: Subscribers): void => {
  const { plan, servers, world } = desk
  servers.trouble()
  for (const { atMs, forMs, kind, member } of plan.processFaults)
    world.after(atMs, () => {
      world.coverage.hit(`process ${kind}`)
      const found = desk.member(member)
      if (kind === "pause") return found?.pause(forMs)
      if (kind === "stop") found?.stop(Math.min(forMs, 200))
      else found?.crash()
      world.after(forMs, () => found?.start())
    })
  for (const { atMs, forMs, mode, server } of plan.outages)
    world.after(atMs, () => {
      for (const one of servers.together(server)) {
        one.fail(mode)
        world.after(forMs, () => servers.recover(one))
      }
    })
  for (const atMs of plan.flushesMs) world.after(atMs, () => flush(servers, world))
  for (const atMs of plan.breaksMs)
    world.after(atMs, () => servers.server(world.seed.pick(["database", "broker"])).breakConnections())
  if (desk.gateways.length === 0) return
  for (let turn = 0; turn < subscriberTurns; turn++) {
    const atMs = (turn * plan.troubleMs) / subscriberTurns
    world.after(atMs, () => subscribers.disturb())
    if (turn % 2 === 0) world.after(atMs, () => subscribers.add())
  }
}

const subscriberTurns = 20

const flush = (servers: Desk["servers"], world: World): void => {
  world.tell("the cache loses everything")
  world.coverage.hit("cache flushed")
  servers.cache.flush()
}

const heal = (desk: Desk, clients: Clients): void => {
  desk.world.tell("all is healed")
  desk.servers.heal()
  clients.end()
  for (const member of desk.members) member.start()
}

const settleStepMs = 500
const settleMs = 240_000

/** Until everything has caught up, by itself but for an operator who replays what was parked. */
const settle = async (desk: Desk, clients: Clients, subscribers: Subscribers): Promise<void> => {
  const { world } = desk
  const endMs = world.nowMs + settleMs
  while (world.violation === null) {
    await world.runUntil(world.nowMs + settleStepMs)
    const waits = whatWaits(desk, clients, subscribers)
    if (waits === null) return
    if (world.nowMs > endMs) return world.violate("heals by itself", waits)
    if (desk.servers.reactions.replayAll() > 0) world.coverage.hit("parked and replayed")
  }
}

/** Null: nothing. */
const whatWaits = (desk: Desk, clients: Clients, subscribers: Subscribers): string | null => {
  const { cache, core, disk, read, reactions } = desk.servers
  const { parts } = desk.plan
  const last = core.positioned.length
  if (!clients.isIdle) return "clients wait for answers"
  if (core.waiting.length > 0) return "events wait for positions"
  if (core.published < last) return "events wait to be published"
  if (parts.includes("views") && read.reached.position < last)
    return `the views stand at ${read.reached.position} of ${last}`
  if (parts.includes("cache") && (cache.progress?.position ?? -1) < last)
    return `the cache stands at ${cache.progress?.position} of ${last}`
  if (reactions.blocked.size > 0) return "events are parked"
  if (disk.journal.size > 0) return "uploads are not registered"
  return unreacted(desk) ?? (subscribers.areCurrent ? null : "subscribers have not got everything")
}

const unreacted = ({ plan, servers, workers }: Desk): string | null => {
  const { core, rabbit, reactions } = servers
  const groups: Array<ConsumerGroup> = ["automation", "analytics", "webhooks"]
  const running = groups.filter((group) => plan.parts.some((part) => part === group))
  if (workers.some(({ name }) => name === "file-worker")) running.push("files")
  for (const group of running) {
    const left =
      plan.broker === "embedded" ? core.positioned.length - (reactions.cursors.get(group) ?? 0) : rabbit.backlog(group)
    if (left > 0) return `${left} events wait for ${group}`
  }
  return null
}
