// PostgreSQL away in every way that it can be, under a whole desk with people on it: writes are refused in plain words and truthfully,
// reads go on, uploads are taken, feeds stay, everything heals by itself, and nothing acknowledged is lost or there twice.
// HOLDFAST_OUTAGE_SECONDS makes each outage longer than the few seconds that a test run has.
import { setTimeout as pause } from "node:timers/promises"
import { signalTree } from "@holdfast/database/embedded/ProcessTree"
import type { ServerProcess } from "@holdfast/scripts/ServerProcess"
import { Duration, Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Crowd } from "./Crowd.ts"
import { report } from "./Measures.ts"
import { promote, startStandby } from "./StandbyServer.ts"
import { assertPromisesKept, startWorld, type World } from "./World.ts"

const outageMs = Number(process.env.HOLDFAST_OUTAGE_SECONDS ?? "1") * 1000
/** Far beyond what anything here takes: a machine may be busy. */
const testDeadlineMs = 300_000
const flapMs = 1500

let world: World

beforeAll(async () => {
  world = await startWorld()
}, testDeadlineMs)
afterAll(async () => {
  await world?.stop()
}, testDeadlineMs)

/** Begins it, lets people feel it until writes are refused and the time is over, ends it, and asks whether every promise was kept. */
const outage = async (
  name: string,
  begin: () => Promise<unknown> | unknown,
  end: () => Promise<unknown> | unknown,
  refuses = true
): Promise<void> => {
  const beganMs = performance.now()
  try {
    await begin()
    await pause(outageMs)
    if (refuses) await somebody("is refused", (tag) => tag !== "accepted", beganMs)
  } finally {
    await end()
  }
  const endedMs = performance.now()
  await somebody("is served again", (tag) => tag === "accepted", endedMs)
  await assertPromisesKept(world)
  report(world, { name, beganMs, endedMs })
}

const somebody = (what: string, isRight: (tag: string) => boolean, sinceMs: number) =>
  expect
    .poll(() => world.ledger.told.some(({ atMs, tag }) => atMs >= sinceMs && isRight(tag)), {
      message: `somebody ${what}`,
      timeout: 120_000,
      interval: 20
    })
    .toBe(true)

const set = (fault: Parameters<World["line"]["set"]>[0]) => () => Effect.runPromise(world.line.set(fault))

describe("PostgreSQL", () => {
  const signal = (name: NodeJS.Signals) => process.kill(postmaster(), name)
  const ended = async (name: NodeJS.Signals) => {
    const gone = world.postgres.ended()
    signal(name)
    await gone
  }
  const start = () => world.postgres.start()

  it("stopped in order", () => outage("stopped (fast)", () => ended("SIGINT"), start), testDeadlineMs)

  it(
    "stopped at once, without a checkpoint",
    () => outage("stopped (immediate)", () => ended("SIGQUIT"), start),
    180_000
  )

  it("killed: its postmaster", () => outage("postmaster killed", () => ended("SIGKILL"), start), testDeadlineMs)

  it(
    "killed: one backend, so that it recovers by itself",
    async () => {
      const [backend] = await world.truth.ask<{ pid: number }>(
        "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'holdfast command-api %' LIMIT 1"
      )
      if (backend === undefined) throw new Error("the desk has no backend")
      const kill = () => process.kill(backend.pid, "SIGKILL")
      await outage("one backend killed", kill, () => {}, false)
    },
    testDeadlineMs
  )

  it(
    "hung: its postmaster, while the connections that there are go on",
    () =>
      outage(
        "postmaster hung",
        () => signal("SIGSTOP"),
        () => signal("SIGCONT"),
        false
      ),
    180_000
  )

  it(
    "hung: every process of it, with the sockets open",
    () => {
      const all = (name: NodeJS.Signals) => () => signalTree(postmaster(), name)
      return outage("all processes hung", all("SIGSTOP"), all("SIGCONT"))
    },
    testDeadlineMs
  )

  it("refuses connections", () => outage("refused", set({ _tag: "Refuse" }), set({ _tag: "Pass" })), testDeadlineMs)

  it(
    "is behind a black hole: old connections hear nothing, new ones get no answer at all",
    () => outage("black hole", world.address.blackHole, world.address.passAgain),
    180_000
  )

  it(
    "does what it is asked, and its answers are lost",
    () => outage("answers lost", set({ _tag: "LoseAnswers" }), set({ _tag: "Pass" })),
    180_000
  )

  it(
    "is slower by two seconds",
    () => outage("slow by 2 s", set({ _tag: "Delay", duration: Duration.seconds(2) }), set({ _tag: "Pass" })),
    180_000
  )

  it(
    "flaps",
    () =>
      outage(
        "flapping every 3 s",
        async () => {
          for (let round = 0; round < Math.max(2, outageMs / (2 * flapMs)); round++) {
            await set({ _tag: "Refuse" })()
            await pause(flapMs)
            await set({ _tag: "Pass" })()
            await pause(flapMs)
          }
        },
        () => {},
        false
      ),
    180_000
  )

  it(
    "has no connection left for the desk",
    async () => {
      const crowd = new Crowd(world.postgres)
      await outage(
        "out of connections",
        () => crowd.takeEverything(() => world.truth.ask(endSessionsOfTheDesk)),
        () => crowd.leave()
      )
    },
    testDeadlineMs
  )
})

// From a place in its log whose bytes are no text: reads that wait for the standby have been seen to fail there.
describe("PostgreSQL with a synchronous standby", () => {
  let standby: ServerProcess

  beforeAll(async () => {
    standby = await startStandby(world.postgres, "standby_1")
    await world.truth.ask("SELECT pg_switch_wal()::text")
    await world.truth.ask("SELECT pg_logical_emit_message(true, 'test', repeat('x', 9000000))::text")
  }, testDeadlineMs)
  afterAll(async () => {
    await standby?.stop()
  }, testDeadlineMs)

  it(
    "is mistaken for its standby: nothing is written, and once the address is right the desk goes there by itself",
    () =>
      outage(
        "address of a standby",
        async () => {
          await world.address.pointTo(standby.plan.port)
          await world.truth.ask(endSessionsOfTheDesk)
        },
        () => world.address.pointTo(world.line.port)
      ),
    testDeadlineMs
  )

  it(
    "is cut off with the desk on its side, while the standby takes over: what it cannot hand on it never acknowledges",
    () =>
      outage(
        "failover, old primary alive and then fenced",
        async () => {
          await promote(standby)
          await somebody("is told that nobody knows", (tag) => tag === "OutcomeUnknown", performance.now())
          await world.ledger.repeatUnknown()
        },
        async () => {
          await world.postgres.kill()
          await world.address.pointTo(standby.plan.port)
          world.truth.url = standby.plan.url
        }
      ),
    testDeadlineMs
  )
})

const endSessionsOfTheDesk =
  "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'holdfast %'"

const postmaster = (): number => {
  const { pid } = world.postgres
  if (pid === undefined) throw new Error("PostgreSQL does not run")
  return pid
}
