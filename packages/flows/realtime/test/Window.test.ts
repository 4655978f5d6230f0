import { describe, expect, it } from "@effect/vitest"
import { Position } from "@holdfast/contracts/Ids"
import { Window } from "../src/Window.ts"
import { envelope } from "./Events.ts"

const at = (position: number, occurredAtMs = 0) => envelope({ type: "TicketReplied", position, occurredAtMs })
const window = (bounds: Partial<ConstructorParameters<typeof Window>[0]> = {}) =>
  new Window({ eventsMax: 100, bytesMax: 1e9, ageMsMax: 1000, ...bounds })
const positions = (events: ReadonlyArray<{ readonly position: number }>) => events.map(({ position }) => position)

describe("Window", () => {
  it("gives what comes after a cursor, in order and as much as asked", () => {
    const kept = window()
    for (let position = 5; position <= 30; position++) kept.append(at(position))
    expect(positions(kept.read(Position.make(7), 3))).toEqual([8, 9, 10])
    expect(positions(kept.read(Position.make(29), 3))).toEqual([30])
    expect(kept.read(Position.make(30), 3)).toEqual([])
  })

  it("ignores what it has and refuses what leaves a gap", () => {
    const kept = window()
    expect(kept.append(at(5))).toBe("appended")
    expect(kept.append(at(5))).toBe("known")
    expect(kept.append(at(3))).toBe("known")
    expect(kept.append(at(7))).toBe("gap")
    expect(kept.head).toBe(5)
  })

  it("is bounded in events, and says which cursors it covers", () => {
    const kept = window({ eventsMax: 10 })
    for (let position = 1; position <= 1000; position++) kept.append(at(position))
    expect([kept.size, kept.oldest, kept.head]).toEqual([10, 991, 1000])
    expect(kept.covers(Position.make(990))).toBe(true)
    expect(kept.covers(Position.make(989))).toBe(false)
    expect(positions(kept.read(Position.make(990), 99))).toHaveLength(10)
  })

  it("is bounded in bytes, yet keeps the newest event however large", () => {
    const kept = window({ bytesMax: 10_000 })
    for (let position = 1; position <= 50; position++) kept.append(at(position))
    expect(kept.size).toBeLessThan(6)
    expect(kept.bytes).toBeLessThanOrEqual(10_000)
    kept.append(envelope({ type: "TicketReplied", position: 51, body: "x".repeat(60_000) }))
    expect([kept.size, kept.head]).toEqual([1, 51])
  })

  it("drops what is too old and still covers the present", () => {
    const kept = window()
    kept.append(at(1, 1000))
    kept.append(at(2, 5000))
    kept.expire(2500)
    expect(kept.oldest).toBe(2)
    kept.expire(60_000)
    expect([kept.oldest, kept.head, kept.size, kept.bytes]).toEqual([null, 2, 0, 0])
    expect(kept.covers(Position.make(2))).toBe(true)
    expect(kept.covers(Position.make(1))).toBe(false)
    expect(kept.append(at(3, 61_000))).toBe("appended")
    expect(positions(kept.read(Position.make(2), 9))).toEqual([3])
  })

  it("covers nothing while it knows nothing", () => {
    expect(window().covers(Position.make(0))).toBe(false)
  })
})
