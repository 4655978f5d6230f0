import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, layer } from "@effect/vitest"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position, StreamVersion } from "@holdfast/contracts/Ids"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { envelopeOf, label, streamOf } from "@holdfast/testkit/Envelopes"
import { commit } from "@holdfast/testkit/EventRows"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Random, Redacted, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { EventLog } from "../src/EventLog.ts"
import { coreForTests, coreOn } from "./CoreForTests.ts"

const options = { excludeTestServices: true, timeout: Duration.seconds(60) }

/** Events of this stream, each committed some time after its row was written, one after the other. */
const commitStream = Effect.fnUntraced(function* (letter: string, count: number, from: number) {
  const sql = yield* SqlClient.SqlClient
  for (let version = 1; version <= count; version++) {
    const pause = (yield* Random.next) * 0.01
    const envelope = envelopeOf(streamOf(letter), letter, version, from + version)
    yield* sql.withTransaction(Effect.andThen(commit(envelope), sql`SELECT pg_sleep(${pause})`))
  }
})

/** A process that leads and gives positions; killed with the scope at the latest. */
const startLeader = (url: string) =>
  Effect.acquireRelease(
    Effect.callback<ChildProcess>((resume) => {
      const fixture = fileURLToPath(new URL("./Leader.fixture.ts", import.meta.url))
      const child = spawn(process.execPath, [fixture, url], { stdio: ["ignore", "pipe", "inherit"] })
      child.stdout.once("data", () => resume(Effect.succeed(child)))
      child.once("exit", () => resume(Effect.die(new Error("the leader ended before it led"))))
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )

const assertGaplessInOrder = (all: ReadonlyArray<Envelope>, count: number) => {
  assert.deepStrictEqual(
    all.map(({ position }) => Number(position)),
    Array.from({ length: count }, (_, index) => index + 1)
  )
  for (const stream of Map.groupBy(all, ({ streamId }) => streamId).values()) {
    assert.deepStrictEqual(
      stream.map(({ streamVersion }) => Number(streamVersion)),
      stream.map((_, index) => index + 1)
    )
  }
}

layer(coreForTests, options)("EventLog", (it) => {
  it.effect(
    "gives gapless positions, per stream in version order, to commits out of order and two relays at once",
    () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        const letters = [..."abcdef"]
        const relays = yield* Effect.forkScoped(
          Effect.all([Effect.forever(log.assignPositions(3)), Effect.forever(log.assignPositions(7))], {
            concurrency: 2
          })
        )
        yield* Effect.forEach(letters, (letter, index) => commitStream(letter, 15, index * 100), {
          concurrency: letters.length
        })
        yield* Fiber.interrupt(relays)
        while ((yield* log.assignPositions(500)) > 0);
        assertGaplessInOrder(yield* log.readAfter(Position.make(0), 1000), letters.length * 15)
        assert.strictEqual(yield* log.lastPosition, letters.length * 15)
      })
  )

  it.effect("reads one stream after a version, and the events at given positions", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const tail = yield* log.readStream(streamOf("a"), StreamVersion.make(13))
      assert.deepStrictEqual(tail.map(label), ["a14", "a15"])
      const positions = [Position.make(5), Position.make(2), Position.make(1_000_000)]
      assert.deepStrictEqual(
        (yield* log.readAt(positions)).map(({ position }) => Number(position)),
        [2, 5]
      )
    })
  )

  it.effect("never moves the relay's cursor back", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      yield* log.markPublished(Position.make(7))
      yield* log.markPublished(Position.make(3))
      assert.strictEqual(yield* log.published, 7)
    })
  )

  it.effect("is another log once it was set back, and is published again from where it is told", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const before = yield* log.identity
      assert.strictEqual(yield* log.identity, before)
      yield* log.renewIdentity(Position.make(9))
      assert.notStrictEqual(yield* log.identity, before)
      assert.strictEqual(yield* log.published, 7)
      yield* log.renewIdentity(Position.make(4))
      assert.strictEqual(yield* log.published, 4)
    })
  )

  it.effect("lets one lead a role at a time; the next one when that one is done", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const order: Array<string> = []
      const began = yield* Deferred.make<void>()
      const end = yield* Deferred.make<void>()
      const first = yield* Effect.forkScoped(
        log.lead("test", Effect.andThen(Deferred.succeed(began, undefined), Deferred.await(end)))
      )
      yield* Deferred.await(began)
      const second = yield* Effect.forkScoped(
        log.lead(
          "test",
          Effect.sync(() => order.push("second"))
        )
      )
      yield* log.lead(
        "another role",
        Effect.sync(() => order.push("another"))
      )
      order.push("first ends")
      yield* Deferred.succeed(end, undefined)
      yield* Fiber.join(first)
      yield* Fiber.join(second)
      assert.deepStrictEqual(order, ["another", "first ends", "second"])
    })
  )

  it.effect("interrupts the work of a leader whose session is lost, and says so", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const sql = yield* SqlClient.SqlClient
      const began = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const leading = yield* Effect.forkScoped(
        log.lead(
          "lost",
          Effect.andThen(Deferred.succeed(began, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
          )
        )
      )
      yield* Deferred.await(began)
      yield* sql`SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE locktype = 'advisory' AND objid = (hashtext('lost')::bigint & 4294967295)::oid`
      const exit = yield* Fiber.await(leading)
      yield* Deferred.await(interrupted)
      assert.isTrue(Exit.isFailure(exit))
    })
  )

  it.effect("goes on waking after the listening connection was cut", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const sql = yield* SqlClient.SqlClient
      const woken = yield* Effect.forkScoped(log.wakeups.pipe(Stream.take(3), Stream.runDrain))
      yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()`
      yield* Fiber.join(woken)
    })
  )

  it.effect("is not held up by a leader that was killed: another one takes over, still without a gap", () =>
    Effect.gen(function* () {
      const url = yield* migratedDatabase
      const core = yield* Layer.build(Layer.fresh(coreOn(url)))
      const killed = yield* startLeader(Redacted.value(url))
      yield* Effect.gen(function* () {
        const log = yield* EventLog
        const reached = (position: number) =>
          log.wakeups.pipe(
            Stream.mapEffect(() => log.lastPosition),
            Stream.takeUntil((last) => last >= position),
            Stream.runDrain
          )
        const committing = yield* Effect.forkScoped(commitStream("a", 200, 0))
        yield* reached(20)
        killed.kill("SIGKILL")
        yield* startLeader(Redacted.value(url))
        yield* Fiber.join(committing)
        yield* reached(200)
        assertGaplessInOrder(yield* log.readAfter(Position.make(0), 1000), 200)
      }).pipe(Effect.provide(core))
    })
  )

  it.effect(
    "is not held up by a leader that hangs with its session open: the server ends it, and another one leads",
    () =>
      Effect.gen(function* () {
        const url = yield* migratedDatabase
        const hung = yield* startLeader(Redacted.value(url))
        hung.kill("SIGSTOP")
        const next = yield* startLeader(Redacted.value(url))
        assert.isNull(next.exitCode)
      })
  )
})
