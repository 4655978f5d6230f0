// A feed whatever the gateway does to it: resumed where it was, given afresh when that is gone, and ended only when it cannot go on.
import { describe, expect, it, onTestFinished, vi } from "@effect/vitest"
import type { FeedItem, FeedOptions } from "../src/Feeds.ts"
import { Feeds } from "../src/Limits.ts"
import { type Script, testGateway, ticketAt } from "./Gateway.ts"

const ticketId = "01890a5d-ac96-774b-bcce-b302099a8057"

/** What a feed gives in short, until it has given `last` or ends. */
const given = async (script: Script, last: string, options: FeedOptions = {}) => {
  const gateway = await testGateway(script)
  const items: Array<string> = []
  for await (const item of gateway.client.feeds.ticket(ticketId, options)) {
    items.push(brief(item))
    if (items.at(-1) === last) break
  }
  await gateway.stop()
  return { items, afters: gateway.afters, tokens: gateway.tokens }
}

const brief = (item: FeedItem<unknown, unknown>): string => {
  switch (item.type) {
    case "change":
      return String(item.position)
    case "snapshot":
      return `${item.reason} ${item.position}`
    case "state":
      return item.state
    case "ended":
      return `ended ${item.code}`
  }
}

describe("a feed", () => {
  it("that begins now begins where the gateway was when it connected, so that a cut before the first event loses none", async () => {
    const { afters, items } = await given(
      { position: 40, subscribed: ({ close, give }, count) => (count === 1 ? close(1012) : give(41)) },
      "41"
    )
    expect(afters).toEqual([40, 40])
    expect(items).toEqual(["live", "away", "live", "41"])
  })

  it.each([1001, 1006, 1011, 1012, 1013, 4470, 4471])(
    "resumes after its last event when it is closed with %i",
    async (code) => {
      const close = code === 1006 || code === 1011 ? 4499 : code
      const { afters, items } = await given(
        {
          position: 0,
          subscribed: (subscription, count) => {
            subscription.give(...(count === 1 ? [1, 2] : [3]))
            if (count === 1) subscription.close(close, { code: "RESUME", retryAfterMs: 5 })
          }
        },
        "3"
      )
      expect(afters).toEqual([0, 2])
      expect(items).toEqual(["live", "1", "2", "away", "live", "3"])
    }
  )

  it("gives nothing twice when a gateway repeats itself", async () => {
    const { items } = await given({ position: 0, subscribed: ({ give }) => give(1, 2, 2, 1, 3) }, "3")
    expect(items).toEqual(["live", "1", "2", "3"])
  })

  it("reads a snapshot when what was missed is gone, says so, and goes on after it", async () => {
    const { afters, items } = await given(
      {
        position: 90,
        subscribed: ({ fail, give }, count) => (count === 1 ? fail("RESYNC_REQUIRED") : give(78)),
        snapshotPosition: () => 77
      },
      "78",
      { from: 5 }
    )
    expect(afters).toEqual([5, 77])
    expect(items).toEqual(["live", "resync 77", "78"])
  })

  it("reads it again while the desk's views lag behind what it still holds", async () => {
    const { afters, items } = await given(
      {
        position: 90,
        subscribed: ({ after, fail, give }) => ((after ?? 0) < 80 ? fail("RESYNC_REQUIRED") : give(81)),
        snapshotPosition: (count) => 60 + 10 * count
      },
      "81",
      { from: 5 }
    )
    expect(afters).toEqual([5, 70, 80])
    expect(items.filter((item) => item.startsWith("resync"))).toEqual(["resync 70", "resync 80"])
  })

  it("reads a snapshot first when that is asked for", async () => {
    const { afters, items } = await given(
      { position: 9, subscribed: ({ give }) => give(8), snapshotPosition: () => 7 },
      "8",
      { from: "snapshot" }
    )
    expect(afters).toEqual([7])
    expect(items).toEqual(["asked 7", "live", "8"])
  })

  it("gives no change that its snapshot shows, though it is sure of less", async () => {
    const { afters, items } = await given(
      { position: 7, subscribed: ({ give }) => give(8, 9, 10), snapshotPosition: () => 7, snapshot: ticketAt(9) },
      "10",
      { from: "snapshot" }
    )
    expect(afters).toEqual([7])
    expect(items).toEqual(["asked 7", "live", "10"])
  })

  it("that was cut without ever knowing where it stood says that something may be missing", async () => {
    const { afters, items } = await given(
      {
        position: null,
        subscribed: ({ close, give }, count) => (count === 1 ? close(1012) : give(31)),
        snapshotPosition: () => 30
      },
      "31"
    )
    expect(afters).toEqual([null, 30])
    expect(items).toEqual(["live", "away", "resync 30", "live", "31"])
  })

  it("moves on with the gateway's pings while nothing happens, once the gateway knows of it", async () => {
    const { afters } = await given(
      {
        position: 10,
        subscribed: ({ close, give, ping }, count) => {
          if (count === 2) return give(61)
          // Too early: this could have been said before the subscription was known.
          ping("live", 50)
          setTimeout(() => {
            ping("live", 60)
            close(1012)
          }, 100)
        }
      },
      "61"
    )
    expect(afters).toEqual([10, 60])
  })

  it("tells when the desk's own feed is stale, and when it is live again", async () => {
    const { items } = await given(
      {
        position: 0,
        subscribed: ({ give, ping }) => {
          ping("stale")
          ping("live")
          give(1)
        }
      },
      "1"
    )
    expect(items).toEqual(["live", "stale", "live", "1"])
  })

  it("asks for another token when its own ran out, and goes on", async () => {
    const { afters, tokens } = await given(
      {
        position: 0,
        subscribed: ({ close, give }, count) => {
          give(count)
          if (count === 1) close(4403, { code: "TOKEN_EXPIRED" })
        }
      },
      "2"
    )
    expect(afters).toEqual([0, 1])
    expect(tokens).toEqual([{ refused: false }, { refused: true }])
  })

  it("ends when its tokens are refused again and again", async () => {
    const { items, tokens } = await given(
      { position: 0, admit: () => [4403, '{"code":"UNAUTHENTICATED"}'], subscribed: () => {} },
      "ended Unauthenticated"
    )
    expect(items).toEqual(["away", "ended Unauthenticated"])
    expect(tokens.length).toBe(Feeds.tokensRefusedMax)
  })

  it.each([4400, 4401, 4406, 4409, 4429, 1009])("ends when it is closed with %i: the client is wrong", async (code) => {
    const { items } = await given(
      { position: 0, subscribed: ({ close }) => close(code, { code: "WRONG" }) },
      `ended ${code}`
    )
    expect(items.at(-1)).toBe(`ended ${code}`)
  })

  it("leaves a line on which nobody answers any more", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    onTestFinished(() => void vi.useRealTimers())
    let isOver = false
    const feed = given(
      { position: 0, isDeaf: (connection) => connection === 1, subscribed: ({ give }, count) => give(count) },
      "2"
    ).finally(() => {
      isOver = true
    })
    // In small steps, so that what really is sent arrives within its time.
    while (!isOver) {
      await vi.advanceTimersByTimeAsync(20)
      await new Promise((resolve) => setImmediate(resolve))
    }
    const { afters, items } = await feed
    expect(items).toEqual(["live", "1", "away", "live", "2"])
    expect(afters).toEqual([0, 1])
  })

  it("is let go while its reader is slow, and resumed where it was", async () => {
    const all = Array.from({ length: 3 * Feeds.itemsMax }, (_, index) => index + 1)
    const gateway = await testGateway({
      position: 0,
      subscribed: ({ after, give }) => give(...all.filter((position) => position > (after ?? 0)))
    })
    const positions: Array<number> = []
    for await (const item of gateway.client.feeds.ticket(ticketId)) {
      if (item.type === "change") positions.push(item.position)
      // Slow: it reads on when nothing more is being sent to it.
      if (positions.length === 1) await gateway.letGo
      if (positions.length === all.length) break
    }
    await gateway.stop()
    expect(positions).toEqual(all)
    expect(gateway.afters.length).toBeGreaterThan(1)
  })
})
