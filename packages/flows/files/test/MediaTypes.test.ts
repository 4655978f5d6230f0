// What a declaration may say of a content, and what contradicts it.
import { describe, expect, it } from "@effect/vitest"
import { Result } from "effect"
import { declaredFor, identify, nameContradicts } from "../src/MediaTypes.ts"
import { alsoIs } from "../src/Polyglots.ts"
import { textKindOf } from "../src/TextKinds.ts"

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
    ["audio/mp4", "video/mp4", "audio/mp4"]
  ])("takes %s with the content of %s as %s", (declared, detected, mediaType) => {
    expect(identify(declared, { detected, text: null })).toEqual(Result.succeed(mediaType))
  })

  it.each([
    ["image/png", "image/jpeg"],
    ["image/png", "application/pdf"],
    ["text/plain", "application/x-msdownload"],
    ["application/pdf", "application/zip"],
    [docx, "application/x-cfb"]
  ])("refuses %s with the content of %s", (declared, detected) => {
    expect(Result.isFailure(identify(declared, { detected, text: null }))).toBe(true)
  })

  it.each([
    [unknown, "plain", "text/plain"],
    [unknown, "html", "text/html"],
    [unknown, "svg", "image/svg+xml"],
    [unknown, "mail", "message/rfc822"],
    ["text/csv", "plain", "text/csv"],
    ["text/plain", "html", "text/plain"],
    ["application/json", "json", "application/json"],
    ["image/svg+xml", "svg", "image/svg+xml"],
    ["text/xml", "svg", "application/xml"],
    ["text/x-of-its-own", "plain", "text/x-of-its-own"]
  ] as const)("takes %s with %s text as %s", (declared, text, mediaType) => {
    expect(identify(declared, { detected: null, text })).toEqual(Result.succeed(mediaType))
  })

  it("asks the text what kind of XML it is", () => {
    const evidence = { detected: "application/xml", text: "svg" } as const
    expect(identify("image/svg+xml", evidence)).toEqual(Result.succeed("image/svg+xml"))
    expect(Result.isFailure(identify("image/svg+xml", { ...evidence, text: "xml" }))).toBe(true)
  })

  it.each([
    ["image/png", "plain"],
    ["application/pdf", "plain"],
    ["application/zip", "plain"],
    [docx, "xml"],
    ["text/csv", "html"],
    ["application/json", "plain"],
    ["image/svg+xml", "html"],
    ["application/xml", "json"],
    ["message/rfc822", "plain"]
  ] as const)("refuses %s with %s text", (declared, text) => {
    expect(Result.isFailure(identify(declared, { detected: null, text }))).toBe(true)
  })

  it.each(["image/png", "text/plain", "application/json"])("refuses unknown bytes declared as %s", (declared) => {
    expect(Result.isFailure(identify(declared, { detected: null, text: null }))).toBe(true)
  })

  it("takes unknown bytes of a type that has no signature as they are declared", () => {
    const evidence = { detected: null, text: null }
    expect(identify("application/x-of-its-own", evidence)).toEqual(Result.succeed("application/x-of-its-own"))
    expect(identify(unknown, evidence)).toEqual(Result.succeed(unknown))
  })
})

const utf16be = Buffer.from("\ufeffPrüfung", "utf16le").swap16()

describe("text", () => {
  it.each([
    ["plain", Buffer.from("a\tb\r\nc"), "plain"],
    ["accents and kanji", Buffer.from("Prüfung 東京"), "plain"],
    ["cut within a character", Buffer.from("東京").subarray(0, 5), "plain"],
    ["UTF-16 that says so", Buffer.from("\ufeffPrüfung", "utf16le"), "plain"],
    ["UTF-16, the other way round", utf16be, "plain"],
    ["a NUL", Buffer.from("a\0b"), null],
    ["Latin-1", Buffer.from("Prüfung", "latin1"), null],
    ["UTF-16 that does not say so", Buffer.from("text", "utf16le"), null],
    ["a page", Buffer.from("\n<!-- x --><!DOCTYPE html><p>"), "html"],
    ["a page of XML", Buffer.from('<?xml version="1.0"?>\n<html xmlns="x">'), "html"],
    ["a picture", Buffer.from('\ufeff<?xml version="1.0"?><!DOCTYPE svg PUBLIC "a" "b"><svg xmlns="x"/>'), "svg"],
    ["XML", Buffer.from("<invoice><total/></invoice>"), "xml"],
    ["an angle bracket", Buffer.from("<3 your desk"), "plain"],
    ["JSON", Buffer.from('{"a": [1, 2]}'), "json"],
    ["almost JSON", Buffer.from('{"a": [1, 2'), "plain"],
    ["a message", Buffer.from("From: a@b\r\nTo: c@d\r\nSubject: x\r\n\r\nHello"), "mail"],
    ["a letter", Buffer.from("From: here\nI write to you about: that"), "plain"]
  ] as const)("%s: %s", (_, bytes, expected) => {
    expect(textKindOf(bytes, true)).toBe(expected)
  })

  it("of which more follows is taken for JSON when it begins so", () => {
    expect(textKindOf(Buffer.from('{"a": [1, 2'), false)).toBe("json")
    expect(textKindOf(Buffer.from("[see below]"), false)).toBe("plain")
  })
})

describe("a name", () => {
  it.each([
    ["photo.JPG", "application/zip"],
    ["invoice.pdf", "image/png"],
    ["notes.txt", "application/pdf"],
    ["table.csv", "text/html"]
  ])("%s contradicts %s", (name, mediaType) => {
    expect(nameContradicts(name, mediaType)).toContain("named .")
  })

  it.each([
    ["photo.JPG", "image/jpeg"],
    ["table.csv", "text/plain"],
    ["notes.txt", "application/json"],
    ["notes", "application/zip"],
    ["backup.bak", "application/zip"]
  ])("%s goes with %s", (name, mediaType) => {
    expect(nameContradicts(name, mediaType)).toBe(null)
  })

  it("of a table explains a declaration that its program made", () => {
    expect(declaredFor("a.CSV", "application/vnd.ms-excel")).toBe("text/csv")
    expect(declaredFor("a.xls", "application/vnd.ms-excel")).toBe("application/vnd.ms-excel")
  })
})

describe("a picture", () => {
  it.each([
    ["image/gif", "GIF89a/*"],
    ["image/gif", "GIF89a=1"],
    ["image/jpeg", "\xff\xd8\xff\xfe<script>"],
    ["image/png", "\x89PNG<?php "]
  ])("%s that begins with %s is something else as well", (detected, head) => {
    expect(alsoIs(detected, Buffer.from(head, "latin1"), Buffer.alloc(0))).toContain(detected)
  })

  it("61 pixels wide is only that", () => {
    expect(alsoIs("image/gif", Buffer.from("GIF89a=\0\x10\0", "latin1"), Buffer.alloc(0))).toBe(null)
  })
})
