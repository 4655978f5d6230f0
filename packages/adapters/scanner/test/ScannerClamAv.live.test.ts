// The real clamd: the contract, and every file of Debian's clamav-testfiles.
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, layer } from "@effect/vitest"
import { Health } from "@holdfast/resilience/Health"
import { Config, Effect, Layer } from "effect"
import * as ScannerClamAv from "../src/ScannerClamAv.ts"
import { contract, scan } from "./ScannerContract.ts"

const live = Layer.unwrap(
  Effect.gen(function* () {
    return ScannerClamAv.layer({ url: yield* Config.String("HOLDFAST_TEST_CLAMD_URL") })
  })
).pipe(Layer.provide(Health.layer))

contract("clamd", live)

const folder = "/usr/share/clamav-testfiles"

layer(live, { excludeTestServices: true })("clamd", (it) => {
  it.effect("rejects all 44 test files", () =>
    Effect.gen(function* () {
      const names = readdirSync(folder)
      const verdicts = yield* Effect.forEach(names, (name) => scan(readFileSync(join(folder, name)), { name }))
      expect(names).toHaveLength(44)
      const passed = names.filter((_, index) => verdicts[index]?._tag !== "Bad")
      expect(passed).toEqual([])
    })
  )

  it.effect("is found to be set as it should", () =>
    Effect.gen(function* () {
      const url = yield* Config.String("HOLDFAST_TEST_CLAMD_URL")
      expect((yield* ScannerClamAv.examine({ url })).missing).toEqual([])
    })
  )

  it.effect("takes a large file in bounded memory", () =>
    Effect.gen(function* () {
      const chunk = new Uint8Array(1 << 20)
      expect(yield* scan(Array.from({ length: 96 }, () => chunk))).toMatchObject({ _tag: "Clean" })
    })
  )
})
