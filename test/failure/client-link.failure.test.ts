// Over 600 ms round trip, 5 % loss and 256 kbit/s, cut every few seconds: every command lands once and in order, the upload completes with at
// most one chunk sent again per cut, the feed is exact. Needs Linux and root, as the link does; the long form is test/drills/client-link.ts.

import { expect, it } from "@effect/vitest"
import { Uploads } from "@holdfast/client/Limits"
import { Effect } from "effect"
import { badLine, runOverLink } from "./ClientLink.ts"

it.live(
  "over a bad line the client does everything once, in order and whole",
  () =>
    Effect.gen(function* () {
      const result = yield* runOverLink({
        seed: 11,
        profile: badLine,
        // Upload, notes and feeds take some five seconds together: at least one cut meets them.
        cutEveryMs: 4_000,
        cutForMs: 500,
        tickets: 2,
        notes: 3,
        noteEveryMs: 500,
        uploadBytes: 96 * 1024
      })
      for (const { feed, kept, present, truth } of result.tickets) {
        expect(present).toEqual(kept)
        expect(feed).toEqual(truth)
      }
      expect(result.statuses).toEqual({ accepted: 6 })
      expect(result.upload).toMatchObject({ status: "uploaded", isWhole: true })
      expect(result.upload.resentBytes).toBeLessThanOrEqual(result.cuts * Uploads.chunkBytesStart)
      expect(result.cuts).toBeGreaterThan(0)
    }).pipe(Effect.scoped),
  300_000
)
