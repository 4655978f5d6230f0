// Small things that keep the code readable, checked so that nobody has to say them in a review.
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { nameOf, root, type Source, sources, tests } from "./Sources.ts"

const all = [...sources, ...tests].filter(({ path }) => !path.startsWith("test/architecture/"))
const pathsOf = (of: ReadonlyArray<Source>, isBreach: (source: Source) => boolean) =>
  of.filter(isBreach).map(({ path }) => path)

describe("every file", () => {
  it("of the product opens with a comment that says what it is for", () => {
    expect(pathsOf(sources, ({ text }) => !/^(#!.*\n)?(\/\/ \S|\/\*\*?\s)/.test(text))).toEqual([])
  })

  it("has a name that says what it holds", () => {
    const nothing = /^(utils?|helpers?|common|shared|misc|types|models|index|lib)$/i
    expect(
      pathsOf(all, (source) => nothing.test(nameOf(source)) || /\/(utils?|helpers?|common)\//.test(source.path))
    ).toEqual([])
  })

  it("is finished: nothing left for later, nothing switched off", () => {
    const unfinished = /\b(TODO|FIXME|XXX|HACK)\b|@ts-(ignore|expect-error|nocheck)/
    expect(pathsOf(all, ({ text }) => unfinished.test(text))).toEqual([])
  })
})

describe("every test", () => {
  it("runs: none is skipped, left for later, or run alone", () => {
    const off = /\b(it|test|describe|layer)(\.\w+)*\.(only|skip|skipIf|runIf|todo|fails)\b/
    expect(pathsOf(tests, ({ text }) => off.test(text))).toEqual([])
  })

  it("that needs a real server says so in its name", () => {
    const needy = /HOLDFAST_TEST_(DATABASE|RABBITMQ|REDIS|CLAMD)_URL|@holdfast\/migrations\/FreshDatabase/
    const unsaid = (source: Source) =>
      source.path.endsWith(".test.ts") &&
      !/\.(live|failure)\.test\.ts$/.test(source.path) &&
      !source.path.startsWith("test/flows/") &&
      needy.test(source.text)
    // The one that tests what is said when a server is missing.
    expect(pathsOf(all, unsaid).filter((path) => path !== "packages/testkit/test/TestServers.test.ts")).toEqual([])
  })

  it("waits for something, never for time", () => {
    expect(
      pathsOf(
        tests.filter(({ path }) => path.endsWith(".test.ts") && !/\.(live|failure)\./.test(path)),
        ({ text }) => /setTimeout\(\s*(resolve|done)/.test(text)
      )
    ).toEqual([])
  })
})

it("no function is longer than 70 lines: the linter says so, and is told to", () => {
  const { linter } = JSON.parse(readFileSync(join(root, "biome.json"), "utf8"))
  expect(linter.rules.complexity.noExcessiveLinesPerFunction).toMatchObject({
    level: "error",
    options: { maxLines: 70 }
  })
})
