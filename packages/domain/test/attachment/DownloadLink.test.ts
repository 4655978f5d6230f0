import { describe, expect, it } from "@effect/vitest"
import { FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { Redacted, Result } from "effect"
import {
  type DownloadClaims,
  LinkExpired,
  LinkNotValid,
  signLink,
  verifyLink
} from "../../src/attachment/DownloadLink.ts"

const key = Redacted.make("0123456789abcdef0123456789abcdef")
const claims: DownloadClaims = {
  fileId: FileId.make("0190a1b2-c3d4-7000-8000-000000000001"),
  sha256: Sha256.make("a".repeat(64)),
  name: 'Prüfung & "Plan" 100%.png',
  mediaType: "image/png",
  principalId: PrincipalId.make("ada"),
  expiresAtSeconds: 2_000
}
const verify = (query: string, nowSeconds = 1_000, fileId: string = claims.fileId) =>
  verifyLink(key, fileId, new URLSearchParams(query), nowSeconds)

describe("a download link", () => {
  it("gives back what was signed", () => {
    expect(verify(signLink(key, claims))).toEqual(Result.succeed(claims))
  })

  it("is refused from its expiry on", () => {
    expect(verify(signLink(key, claims), 1_999)).toEqual(Result.succeed(claims))
    expect(verify(signLink(key, claims), 2_000)).toEqual(Result.fail(new LinkExpired({ expiresAtSeconds: 2_000 })))
  })

  it("is refused under another key", () => {
    const forged = signLink(Redacted.make("another key"), claims)
    expect(verify(forged)).toEqual(Result.fail(new LinkNotValid()))
  })

  it("is refused for another file", () => {
    const other = "0190a1b2-c3d4-7000-8000-000000000002"
    expect(verify(signLink(key, claims), 1_000, other)).toEqual(Result.fail(new LinkNotValid()))
  })

  it.each([
    ["h", "b".repeat(64)],
    ["n", "other.png"],
    ["t", "text/html"],
    ["p", "eve"],
    ["e", "9999999"],
    ["e", "2e3"],
    ["e", "02000"],
    ["s", ""],
    ["s", "AAAA"]
  ])("is refused when %s was changed to %s", (name, value) => {
    const parameters = new URLSearchParams(signLink(key, claims))
    parameters.set(name, value)
    expect(verify(parameters.toString())).toEqual(Result.fail(new LinkNotValid()))
  })

  it.each(["h", "n", "t", "p", "e", "s"])("is refused when %s is missing or given twice", (name) => {
    const missing = new URLSearchParams(signLink(key, claims))
    const twice = new URLSearchParams(missing)
    twice.append(name, twice.get(name) ?? "")
    missing.delete(name)
    expect(verify(missing.toString())).toEqual(Result.fail(new LinkNotValid()))
    expect(verify(twice.toString())).toEqual(Result.fail(new LinkNotValid()))
  })
})
