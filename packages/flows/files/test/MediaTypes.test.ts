// What a declaration may say of a content, and what contradicts it.
import { describe, expect, it } from "@effect/vitest"
import { Result } from "effect"
import { identify, isUtf8Text } from "../src/MediaTypes.ts"

const unknown = "application/octet-stream"
const docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

describe("identification", () => {
  it.each([
    ["image/png", "image/png", "image/png"],
    [unknown, "image/png", "image/png"],
    ["image/jpg", "image/jpeg", "image/jpeg"],
    ["image/png", "image/apng", "image/png"],
    ["application/x-zip-compressed", "application/zip", "application/zip"],
    [docx, "application/zip", docx],
    ["application/msword", "application/x-cfb", "application/msword"],
    ["image/svg+xml", "application/xml", "image/svg+xml"],
    ["audio/mp4", "video/mp4", "audio/mp4"]
  ])("takes %s with the content of %s as %s", (declared, detected, mediaType) => {
    expect(identify(declared, { detected, isText: false })).toEqual(Result.succeed(mediaType))
  })

  it.each([
    ["image/png", "image/jpeg"],
    ["image/png", "application/pdf"],
    ["text/plain", "application/x-msdownload"],
    ["application/pdf", "application/zip"],
    [docx, "application/x-cfb"]
  ])("refuses %s with the content of %s", (declared, detected) => {
    expect(Result.isFailure(identify(declared, { detected, isText: false }))).toBe(true)
  })

  it.each([
    [unknown, "text/plain"],
    ["text/csv", "text/csv"],
    ["application/json", "application/json"],
    ["image/svg+xml", "image/svg+xml"]
  ])("takes text declared as %s as %s", (declared, mediaType) => {
    expect(identify(declared, { detected: null, isText: true })).toEqual(Result.succeed(mediaType))
  })

  it.each(["image/png", "application/pdf", "application/zip", docx])("refuses text declared as %s", (declared) => {
    expect(Result.isFailure(identify(declared, { detected: null, isText: true }))).toBe(true)
  })

  it.each(["image/png", "text/plain", "application/json"])("refuses unknown bytes declared as %s", (declared) => {
    expect(Result.isFailure(identify(declared, { detected: null, isText: false }))).toBe(true)
  })

  it("takes unknown bytes of a type that has no signature as they are declared", () => {
    const evidence = { detected: null, isText: false }
    expect(identify("application/x-of-its-own", evidence)).toEqual(Result.succeed("application/x-of-its-own"))
    expect(identify(unknown, evidence)).toEqual(Result.succeed(unknown))
  })
})

describe("text", () => {
  it.each([
    ["plain", Buffer.from("a\tb\r\nc"), true],
    ["accents and kanji", Buffer.from("Prüfung 東京"), true],
    ["cut within a character", Buffer.from("東京").subarray(0, 5), true],
    ["a NUL", Buffer.from("a\0b"), false],
    ["Latin-1", Buffer.from("Prüfung", "latin1"), false],
    ["UTF-16", Buffer.from("text", "utf16le"), false]
  ] as const)("%s: %s", (_, bytes, expected) => {
    expect(isUtf8Text(bytes)).toBe(expected)
  })
})
