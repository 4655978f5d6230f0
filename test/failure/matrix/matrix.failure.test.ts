// The failure matrix of the design as data, and each row done to a running desk: the fault, what every column is meanwhile, the end of the
// fault, everything back by itself. In the end nothing is lost and nothing doubled. It prints what it has seen. PostgreSQL itself is in
// test/failure/postgres; full disks are in test/failure/storage.failure.test.ts.
import { once } from "node:events"
import { connect } from "node:net"
import { setTimeout as pause } from "node:timers/promises"
import type { Fault } from "@holdfast/testkit/Faults"
import { Duration } from "effect"
import { Redis } from "ioredis"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { rabbitmqctl } from "../RabbitMqControl.ts"
import { become, type Column, columns, type Dependency, healthy, MatrixWorld } from "./MatrixWorld.ts"

interface Row {
  readonly fails: Dependency
  readonly how: string
  readonly begin: (world: MatrixWorld) => Promise<void>
  readonly end: (world: MatrixWorld) => Promise<void>
  /** What is otherwise than healthy. Every other column is as ever from the first moment. */
  readonly expect: Partial<Record<Column, string>>
  /** Another way to the same outcome: only with HOLDFAST_TEST_MATRIX=all, as everybody waits for this test. */
  readonly isLong?: true
  /** What a token by an unknown key is answered meanwhile. */
  readonly stranger?: number
}

const line = (fails: Dependency, how: string, fault: Fault, expected: Row["expect"], more: Partial<Row> = {}): Row => ({
  fails,
  how,
  begin: (world) => world.set(fails, fault),
  end: (world) => world.set(fails, { _tag: "Pass" }),
  expect: expected,
  ...more
})

type ServerName = "rabbitmq" | "redis" | "clamd"

const serverOf = (world: MatrixWorld, name: ServerName) => {
  const server = world.stack.servers.get(name)
  if (server === undefined) throw new Error(`the stack has no ${name}`)
  return server
}

/** The server itself, by a signal. */
const real = (fails: Dependency, name: ServerName, how: "killed" | "stopped", expected: Row["expect"]): Row => ({
  fails,
  how: how === "killed" ? "kill -9" : "SIGSTOP",
  begin: async (world) => {
    const server = serverOf(world, name)
    if (how === "killed") await server.kill()
    else server.signal("SIGSTOP")
  },
  end: async (world) => {
    const server = serverOf(world, name)
    if (how === "killed") await server.start()
    else server.signal("SIGCONT")
  },
  expect: expected
})

const redisDo = async (world: MatrixWorld, work: (redis: Redis) => Promise<unknown>) => {
  const redis = new Redis(serverOf(world, "redis").plan.url)
  await work(redis)
  redis.disconnect()
}

/** What an operator of RabbitMQ does, or what befalls its node. */
const rabbitMq = (how: string, begin: ReadonlyArray<Sentence>, end: ReadonlyArray<Sentence>): Row => {
  const tell = async (world: MatrixWorld, sentences: ReadonlyArray<Sentence>) => {
    for (const sentence of sentences) await rabbitmqctl(serverOf(world, "rabbitmq"), ...sentence)
  }
  return {
    fails: "RabbitMQ",
    how,
    begin: (world) => tell(world, begin),
    end: (world) => tell(world, end),
    expect: silent
  }
}
type Sentence = ReadonlyArray<string>
const thrownOut: Sentence = ["close_all_connections", "of a test"]

/** There, away, there again, more often than anybody can get used to; what holds in between is any column's own affair. */
const flapping = (fails: Dependency): Row => ({
  fails,
  how: "flaps",
  begin: async (world) => {
    for (let turn = 0; turn < 5; turn++) {
      await world.set(fails, refuse)
      await pause(700)
      await world.set(fails, { _tag: "Pass" })
      await world.act()
      await pause(700)
    }
  },
  end: async () => {},
  expect: {},
  isLong: true
})

const flushed: Row = {
  fails: "Redis",
  how: "FLUSHALL",
  begin: (world) => redisDo(world, (redis) => redis.flushall()),
  end: async () => {},
  expect: {}
}
const full: Row = {
  fails: "Redis",
  how: "full",
  begin: (world) => redisDo(world, (redis) => redis.config("SET", "maxmemory", "1")),
  end: (world) => redisDo(world, (redis) => redis.config("SET", "maxmemory", "0")),
  expect: {}
}
const reloading: Row = {
  fails: "clamd",
  how: "reads its signatures anew",
  begin: async (world) => {
    const { hostname, port } = new URL(serverOf(world, "clamd").plan.url)
    const socket = connect(Number(port), hostname)
    socket.end("nRELOAD\n")
    await once(socket.resume(), "close")
  },
  end: async () => {},
  expect: {},
  isLong: true
}
const errors: Row = {
  fails: "webhook receiver",
  how: "500",
  begin: async (world) => {
    world.answer = { status: 500 }
  },
  end: async (world) => {
    world.answer = { status: 204 }
  },
  expect: { webhook: "waits" }
}

const slow: Fault = { _tag: "Delay", duration: Duration.millis(100) }
const hang: Fault = { _tag: "Hang" }
const deaf: Fault = { _tag: "Partition", direction: "toServer" }
const mute: Fault = { _tag: "Partition", direction: "toClient" }
const refuse: Fault = { _tag: "Refuse" }
const reset: Fault = { _tag: "Reset" }
const lost: Fault = { _tag: "LoseAnswers" }
// Without RabbitMQ: queries show the desk as it was, the feed says stale, and whatever reacts to events waits.
const silent = { queries: "behind", realtime: "stale", files: "wait", webhook: "waits", reactions: "wait" }
const cached = { queries: "cached" }

const rows: ReadonlyArray<Row> = [
  line("read database", "refused", refuse, cached),
  line("read database", "hung", hang, cached),
  real("RabbitMQ", "rabbitmq", "stopped", silent),
  real("RabbitMQ", "rabbitmq", "killed", silent),
  line("RabbitMQ", "hears nothing", deaf, silent, { isLong: true }),
  line("RabbitMQ", "is not heard", mute, silent, { isLong: true }),
  line("RabbitMQ", "slow", slow, {}, { isLong: true }),
  // Whoever only reads is told nothing of it: the feed is as live as it is silent.
  {
    ...rabbitMq("disk alarm", [["set_disk_free_limit", "100000GB"]], [["set_disk_free_limit", "50MB"]]),
    expect: { ...silent, realtime: "live" }
  },
  {
    ...rabbitMq(
      "wrong password",
      [["change_password", "guest", "another"], thrownOut],
      [["change_password", "guest", "guest"]]
    ),
    isLong: true
  },
  {
    ...rabbitMq(
      "no connection left",
      [["set_vhost_limits", JSON.stringify({ "max-connections": 0 })], thrownOut],
      [["clear_vhost_limits"]]
    ),
    isLong: true
  },
  flapping("RabbitMQ"),
  line("Redis", "refused", refuse, {}, { isLong: true }),
  line("Redis", "hears nothing", deaf, {}, { isLong: true }),
  line("Redis", "is not heard", mute, {}, { isLong: true }),
  flapping("Redis"),
  real("Redis", "redis", "stopped", {}),
  real("Redis", "redis", "killed", {}),
  flushed,
  full,
  real("clamd", "clamd", "stopped", { files: "wait" }),
  line("clamd", "reset", reset, { files: "wait" }, { isLong: true }),
  line("clamd", "is not heard", mute, { files: "wait" }, { isLong: true }),
  line("clamd", "slow", slow, {}, { isLong: true }),
  line(
    "clamd",
    "dies in a stream",
    { _tag: "CutAfter", bytes: 20, direction: "toServer" },
    { files: "wait" },
    { isLong: true }
  ),
  reloading,
  flapping("clamd"),
  errors,
  line("webhook receiver", "hung", hang, { webhook: "waits" }),
  line("webhook receiver", "answers lost", lost, {}, { isLong: true }),
  line("key server", "refused", refuse, {}, { stranger: 503, isLong: true }),
  line("key server", "hung", hang, {}, { stranger: 503 })
]

const changeMs = 20_000
const healMs = 40_000
const rowDeadlineMs = 120_000

describe("the failure matrix", () => {
  let world: MatrixWorld
  const seen: Array<Readonly<Record<string, string>>> = []

  beforeAll(async () => {
    world = await MatrixWorld.start()
  }, 180_000)
  afterAll(async () => {
    console.table(seen)
    await world?.stop()
  }, 180_000)

  const allHealthy = async () => {
    await world.act()
    const found = await Promise.all(
      columns.map(async (column) => [column, await become(world, column, healthy[column], healMs)] as const)
    )
    expect(Object.fromEntries(found)).toEqual(healthy)
  }

  it("is all well before anything fails", allHealthy, rowDeadlineMs)

  const isAll = process.env.HOLDFAST_TEST_MATRIX === "all"
  it.each(rows.filter((row) => isAll || row.isLong !== true))(
    "$fails, $how",
    async (row) => {
      const wanted: Readonly<Record<Column, string>> = { ...healthy, ...row.expect }
      await row.begin(world)
      try {
        const found: Partial<Record<Column, string>> = await world.act()
        for (const column of columns) {
          found[column] ??= await become(world, column, wanted[column], changeMs)
        }
        seen.push({ fails: row.fails, how: row.how, ...found })
        expect(found).toEqual(wanted)
        if (row.stranger !== undefined) expect(await world.strangersStatus()).toBe(row.stranger)
      } finally {
        // Else the rows after it would fail for what this one did.
        await row.end(world)
      }
      await allHealthy()
    },
    rowDeadlineMs
  )

  it(
    "has lost nothing and doubled nothing",
    async () => {
      const { doubled, feedClosed, feedVersions, missing, version } = await world.proof()
      expect({ doubled, feedClosed, missing }).toEqual({ doubled: 0, feedClosed: false, missing: 0 })
      expect(feedVersions).toEqual(Array.from({ length: version }, (_, index) => index + 1))
    },
    rowDeadlineMs
  )
})
