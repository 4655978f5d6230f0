// What an outbox may rely on, whatever it keeps its commands in.
import { describe, expect, it } from "@effect/vitest"
import { type Store, StoreUnavailable } from "../src/Store.ts"

/** `place`: a fresh one, and what opens it as another process would. */
export const storeContract = (name: string, place: () => Promise<() => Store>): void => {
  describe(`a store in ${name}`, () => {
    it("is empty at first", async () => {
      const store = (await place())()
      expect([...(await store.open())]).toEqual([])
      await store.close()
    })

    it("keeps what was written, in the order of the keys", async () => {
      const at = await place()
      const store = at()
      await store.open()
      await store.write([["b", "2"]])
      await store.write([
        ["a", "1"],
        ["c", "with\na line, and more: äöü €"]
      ])
      await store.write([["b", "3"]])
      await store.close()
      const again = at()
      expect([...(await again.open())]).toEqual([
        ["a", "1"],
        ["b", "3"],
        ["c", "with\na line, and more: äöü €"]
      ])
      await again.close()
    })

    it("forgets what was removed", async () => {
      const at = await place()
      const store = at()
      await store.open()
      await store.write([
        ["a", "1"],
        ["b", "2"]
      ])
      await store.write([
        ["a", null],
        ["never", null]
      ])
      await store.close()
      const again = at()
      expect([...(await again.open())]).toEqual([["b", "2"]])
      await again.close()
    })

    it("writes in the order of the calls, also those that do not wait for each other", async () => {
      const at = await place()
      const store = at()
      await store.open()
      await Promise.all(Array.from({ length: 50 }, (_, count) => store.write([["a", String(count)]])))
      await store.close()
      const again = at()
      expect((await again.open()).get("a")).toBe("49")
      await again.close()
    })

    it("is open once at a time", async () => {
      const at = await place()
      const store = at()
      await store.open()
      const other = at()
      await expect(other.open()).rejects.toMatchObject({ _tag: "StoreUnavailable", reason: "locked" })
      await other.close()
      await store.write([["a", "1"]])
      await store.close()
      expect((await other.open()).get("a")).toBe("1")
      await other.close()
    })

    it("fails typed when it is not open", async () => {
      const store = (await place())()
      await expect(store.write([["a", "1"]])).rejects.toBeInstanceOf(StoreUnavailable)
      await store.open()
      await store.close()
      await store.close()
      await expect(store.write([["a", "1"]])).rejects.toBeInstanceOf(StoreUnavailable)
    })
  })
}
