// Which queue a stream's events go through: for ever the same one, whoever publishes, whatever was restarted in between.
import { describe, expect, it } from "@effect/vitest"
import { StreamId } from "@holdfast/contracts/Ids"
import { Broker as Limits } from "@holdfast/resilience/Limits"
import { envelopeOf } from "@holdfast/testkit/Envelopes"
import { makeTopology, partitionOf, routingKeyOf } from "../src/Topology.ts"

const streamId = StreamId.make("018f3c1e-7b2a-7c4d-9e5f-0a1b2c3d4e5f")

describe("a stream's partition", () => {
  it("is pinned: another one would let later events overtake those under way", () => {
    expect(partitionOf(streamId)).toBe(0x2c3d4e5f % 4)
    expect(Limits.partitions).toBe(4)
  })

  it("ends the routing key, by which each group's queue of that partition is bound", () => {
    expect(routingKeyOf(envelopeOf(streamId, "a", 1, 1))).toMatch(/^ticket\.Ticket[A-Za-z]+\.3$/)
  })

  it("is used by every partition about as much", () => {
    const counts = new Map<number, number>()
    for (let n = 0; n < 4000; n++) {
      const partition = partitionOf(StreamId.make(crypto.randomUUID()))
      counts.set(partition, (counts.get(partition) ?? 0) + 1)
    }
    expect([...counts.keys()].toSorted()).toEqual([0, 1, 2, 3])
    expect(Math.min(...counts.values())).toBeGreaterThan(800)
  })

  it("has a queue in every group", () => {
    expect(makeTopology("desk").queues("views")).toEqual([
      "desk.views.0",
      "desk.views.1",
      "desk.views.2",
      "desk.views.3"
    ])
  })
})
