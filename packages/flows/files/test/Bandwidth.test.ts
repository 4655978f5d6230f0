// The bounds of the bandwidth and its fairness, for any clients and pieces, on a clock that is a number.
import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { Bandwidth, burstMs } from "../src/Bandwidth.ts"

interface Passed {
  readonly client: string
  readonly atMs: number
  readonly sizeBytes: number
}

/** Transfers that ask for a piece, wait for it, and ask for the next one after a while; until the end, on a clock that jumps. */
const run = (bandwidth: Bandwidth, transfers: ReadonlyArray<Transfer>, untilMs: number): ReadonlyArray<Passed> => {
  const passed: Array<Passed> = []
  const dueMs = new Map(transfers.map((transfer, index) => [transfer, index % 7]))
  let atMs = 0
  while (atMs < untilMs) {
    for (const transfer of transfers) {
      const { client, pauseMs, pieceBytes: sizeBytes } = transfer
      if ((dueMs.get(transfer) ?? Number.POSITIVE_INFINITY) > atMs) continue
      dueMs.delete(transfer)
      const onGranted = () => {
        passed.push({ client, atMs, sizeBytes })
        dueMs.set(transfer, atMs + pauseMs)
      }
      bandwidth.ask(client, { sizeBytes, onGranted }, atMs)
    }
    const waitMs = bandwidth.grant(atMs) ?? Number.POSITIVE_INFINITY
    atMs = Math.max(atMs + 1, Math.min(atMs + waitMs, ...dueMs.values()))
  }
  return passed
}

interface Transfer {
  readonly client: string
  readonly pieceBytes: number
  readonly pauseMs: number
}

const bytesOf = (passed: ReadonlyArray<Passed>) => passed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)

/** The most that passed in any stretch of time beyond what the rate allows for it. */
const beyond = (passed: ReadonlyArray<Passed>, bytesPerSecond: number): number => {
  let [worst, debt, lastMs] = [0, 0, 0]
  for (const { atMs, sizeBytes } of passed) {
    debt = Math.max(0, debt - ((atMs - lastMs) * bytesPerSecond) / 1000) + sizeBytes
    lastMs = atMs
    worst = Math.max(worst, debt)
  }
  return worst
}

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const Transfers = Schema.NonEmptyArray(
  Schema.Struct({
    client: Schema.Literals(["ada", "bob", "cy"]),
    pieceBytes: between(1, 4_000),
    pauseMs: between(0, 300)
  })
)
const rates = { all: between(500, 50_000), perClient: between(500, 50_000) }

describe("bandwidth", () => {
  it.prop(
    "never lets more pass than the bounds, the burst and a piece",
    { transfers: Transfers, ...rates },
    (given) => {
      const { all, perClient, transfers } = given
      const passed = run(
        new Bandwidth({ bytesPerSecondMax: all, bytesPerSecondPerClientMax: perClient }),
        transfers.slice(0, 24),
        10_000
      )
      const pieceMax = Math.max(...transfers.map(({ pieceBytes }) => pieceBytes))
      const allowed = (rate: number) => pieceMax + (rate * burstMs) / 1000 + 1
      expect(beyond(passed, all)).toBeLessThanOrEqual(allowed(all))
      for (const client of new Set(transfers.map((transfer) => transfer.client))) {
        const own = passed.filter((one) => one.client === client)
        expect(beyond(own, perClient)).toBeLessThanOrEqual(allowed(perClient))
      }
    }
  )

  it.prop(
    "gives clients that always want more the same, however many transfers each has",
    {
      connections: Schema.Array(between(1, 16)).check(Schema.isBetweenLength(2, 6)),
      pieceBytes: between(200, 2_000)
    },
    ({ connections, pieceBytes }) => {
      const bandwidth = new Bandwidth({ bytesPerSecondMax: 20_000, bytesPerSecondPerClientMax: 20_000 })
      const transfers = connections.flatMap((count, index) =>
        Array.from({ length: count }, () => ({ client: `client ${index}`, pieceBytes, pauseMs: 0 }))
      )
      const passed = run(bandwidth, transfers, 20_000)
      const shares = connections.map((_, index) => bytesOf(passed.filter(({ client }) => client === `client ${index}`)))
      // One that has a single transfer misses a turn when it comes a moment late for it; never two in a row.
      expect(Math.min(...shares)).toBeGreaterThanOrEqual(Math.max(...shares) / 2 - 2 * pieceBytes)
    }
  )

  it.prop("leaves nothing unused while somebody may still take it", { perClient: between(1_000, 30_000) }, (given) => {
    const bandwidth = new Bandwidth({ bytesPerSecondMax: 30_000, bytesPerSecondPerClientMax: given.perClient })
    const transfers = ["ada", "bob"].flatMap((client) =>
      Array.from({ length: 3 }, () => ({ client, pieceBytes: 500, pauseMs: 0 }))
    )
    const bytesPerSecond = bytesOf(run(bandwidth, transfers, 20_000)) / 20
    expect(bytesPerSecond).toBeGreaterThanOrEqual(0.98 * Math.min(30_000, 2 * given.perClient))
  })

  it("holds a client that comes anew for each piece to its bound all the same, and forgets who has rested", () => {
    const bandwidth = new Bandwidth({ bytesPerSecondMax: 1e9, bytesPerSecondPerClientMax: 1_000 })
    const transfers = [{ client: "ada", pieceBytes: 400, pauseMs: 50 }]
    expect(bytesOf(run(bandwidth, transfers, 10_000))).toBeLessThanOrEqual(10_000 + 100 + 400)
    bandwidth.grant(20_000)
    bandwidth.ask("bob", { sizeBytes: 1, onGranted: () => {} }, 30_000)
    expect(bandwidth.clients).toBe(1)
  })

  it("does not wait for a turn that its owner gave up", () => {
    const bandwidth = new Bandwidth({ bytesPerSecondMax: 1_000, bytesPerSecondPerClientMax: 1_000 })
    const passed: Array<string> = []
    const turn = (name: string) => ({ sizeBytes: 1_000, onGranted: () => void passed.push(name) })
    const second = turn("second")
    bandwidth.ask("ada", turn("first"), 0)
    bandwidth.ask("ada", second, 0)
    bandwidth.ask("ada", turn("third"), 0)
    expect(bandwidth.grant(0)).toBe(900)
    bandwidth.withdraw("ada", second)
    bandwidth.grant(900)
    expect(passed).toEqual(["first", "third"])
  })
})
