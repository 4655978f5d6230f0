// The running gateway with a small quota: what it answers, that neither kill -9 nor a restart forgets, and what its metrics tell of it.
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { RunningGateway } from "./RunningGateway.ts"

const mebibyte = 1 << 20

it.live("bounds what is stored in a day, for each and for all together, and tells of it in its metrics", () =>
  Effect.gen(function* () {
    const gateway = yield* RunningGateway.makeWith({
      HOLDFAST_UPLOAD_QUOTA_PRINCIPAL_MIB: "2",
      HOLDFAST_UPLOAD_QUOTA_TOTAL_MIB: "3"
    })
    yield* Effect.promise(async () => {
      const [ada, bob] = [await gateway.token("ada"), await gateway.token("bob")]
      const begin = (token: string, bytes: number) => gateway.begin(token, { "upload-length": String(bytes) })
      const first = await begin(ada, 2 * mebibyte)
      const sent = await gateway.send(ada, first.headers.get("location") ?? "", 0, new Uint8Array(2 * mebibyte))
      expect([first.status, sent.status]).toEqual([201, 204])
      await gateway.end("SIGKILL")
      await gateway.start()

      const own = await begin(ada, 1000)
      expect(own.status).toBe(429)
      expect(Number(own.headers.get("retry-after"))).toBeGreaterThan(86_000)
      expect(await own.json()).toMatchObject({
        type: "urn:holdfast:problem:UploadQuotaExceeded",
        title: expect.stringContaining("You may upload 2 MiB in 24 hours, and you have used 2 MiB of it"),
        limitBytes: 2 * mebibyte,
        takenBytes: 2 * mebibyte
      })
      const never = await begin(bob, 2 * mebibyte + 1)
      expect([never.status, never.headers.get("retry-after")]).toEqual([413, null])
      const all = await begin(bob, 2 * mebibyte)
      expect([all.status, await all.json()]).toEqual([
        507,
        expect.objectContaining({ title: expect.stringContaining("All together may upload 3 MiB") })
      ])
      expect((await begin(bob, mebibyte)).status).toBe(201)

      const location = (await begin(await gateway.token("eve"), 0)).headers.get("location") ?? ""
      expect(location).not.toBe("")
      const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
      for (const line of [
        'holdfast_upload_refusals_total{reason="UploadQuotaExceeded"} 2',
        `holdfast_upload_refused_bytes_total{reason="UploadQuotaExceeded"} ${1000 + 2 * mebibyte + 1}`,
        `holdfast_upload_refused_bytes_total{reason="DeskUploadQuotaExceeded"} ${2 * mebibyte}`
      ]) {
        expect(metrics).toContain(line)
      }
      const more = await begin(bob, 0)
      expect(more.status).toBe(201)
    })
  })
)

it.live("counts the bytes that come, and how long the journal is", () =>
  Effect.gen(function* () {
    const gateway = yield* RunningGateway.make
    yield* Effect.promise(async () => {
      const token = await gateway.token("ada")
      const { headers } = await gateway.begin(token)
      await gateway.send(token, headers.get("location") ?? "", 0, "0123456789")
      const refused = await gateway.send("no token", headers.get("location") ?? "", 0, "0123456789")
      expect(refused.status).toBe(401)
      const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
      expect(metrics).toContain("holdfast_upload_received_bytes_total 10")
      expect(metrics).toContain('holdfast_upload_refusals_total{reason="Unauthenticated"} 1')
      expect(metrics).toMatch(/holdfast_journal_entries [01]/)
    })
  })
)
