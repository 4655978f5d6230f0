// What the tests say about a machine that lacks something.
import { describe, expect, it } from "vitest"
import { describeMissing, missingPackages } from "../src/Machine.ts"

const need = (thing: string, debianPackage: string, there: boolean) => ({ thing, debianPackage, present: () => there })

describe("the machine", () => {
  it("names each missing package once", () => {
    const all = [need("a", "one", false), need("b", "one", false), need("c", "two", true), need("d", "three", false)]
    expect(missingPackages(all)).toEqual(["one", "three"])
  })

  it("says what is missing and how to get it", () => {
    expect(describeMissing([need("clamd", "clamav-daemon", false), need("epmd", "erlang-base", false)])).toBe(
      "The tests need clamd (Debian package clamav-daemon), epmd (Debian package erlang-base). " +
        "On Debian: apt-get install clamav-daemon erlang-base"
    )
  })
})
