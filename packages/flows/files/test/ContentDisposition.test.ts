// The name of a download: true where it can be, harmless always.
import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { contentDisposition } from "../src/ContentDisposition.ts"

/** As a client reads it. */
const nameIn = (header: string) => decodeURIComponent(/filename\*=UTF-8''([^;]*)$/.exec(header)?.[1] ?? "")

describe("the name of a download", () => {
  it("is told plainly and in full", () => {
    expect(contentDisposition("attachment", "report 1.pdf")).toBe(
      `attachment; filename="report 1.pdf"; filename*=UTF-8''report%201.pdf`
    )
    expect(contentDisposition("inline", "東京.png")).toBe(
      `inline; filename="__.png"; filename*=UTF-8''%E6%9D%B1%E4%BA%AC.png`
    )
    expect(contentDisposition("attachment", "it's (1) *new*.txt")).toBe(
      `attachment; filename="it's (1) *new*.txt"; filename*=UTF-8''it%27s%20%281%29%20%2Anew%2A.txt`
    )
  })

  it.each([
    ["../../etc/passwd", "_.._etc_passwd"],
    ["C:\\Windows\\evil.exe", "C__Windows_evil.exe"],
    ["invoice\u202Egnp.exe", "invoicegnp.exe"],
    ["a\u2066b\u2069c\u200Fd.txt", "abcd.txt"],
    [".htaccess", "htaccess"],
    ["trailing. . ", "trailing"],
    ["con.txt", "_con.txt"],
    ["LPT1", "_LPT1"],
    ["console.txt", "console.txt"],
    ["...", "download"],
    ["\ud800.txt", "\ufffd.txt"],
    ['a"; filename="b.html', 'a"; filename="b.html'],
    ["a\r\nSet-Cookie: b=c", "a__Set-Cookie_ b=c"]
  ])("is made harmless: %j", (name, expected) => {
    expect(nameIn(contentDisposition("attachment", name))).toBe(expected)
  })

  it("is shortened by characters, and keeps its ending", () => {
    const name = nameIn(contentDisposition("attachment", `${"😀".repeat(240)}.png`))
    expect([...name]).toHaveLength(200)
    expect(name.endsWith("😀.png")).toBe(true)
  })

  it.prop("is always one header value that cannot be left, whatever it is", [Schema.String], ([name]) => {
    const header = contentDisposition("attachment", name)
    expect(header).toMatch(
      /^attachment; filename="[\x20\x21\x23-\x5b\x5d-\x7e]*"; filename\*=UTF-8''[A-Za-z0-9!#$&+.^_`|~%-]*$/
    )
    expect(nameIn(header)).not.toBe("")
    expect(nameIn(header)).not.toMatch(/[/\\:]/)
  })
})
