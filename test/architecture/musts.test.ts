// The five rules of Effect 4 in production, and the deadline that keeps its time: each with the test that proves it and, where a
// breach shows in the text, a check that nobody breaks it anywhere.
import { describe, expect, it } from "@effect/vitest"
import { sources, tests } from "./Sources.ts"

const proofs = [
  [
    "1 a forked fiber never ends in silence",
    "packages/resilience/test/KeepRunning.test.ts",
    "by a defect is logged and started again: it is never silent"
  ],
  ["2 a request body is bounded", "apps/process/test/HttpServer.test.ts", "MUST: a body over the limit is refused"],
  [
    "3 a connection lost in a transaction is a typed failure",
    "packages/adapters/database/test/Transaction.live.test.ts",
    "a backend killed in the middle is a typed connection loss, not a defect"
  ],
  [
    "4 names inside JSON are left alone",
    "packages/adapters/database/test/Transaction.live.test.ts",
    "keys inside jsonb come back exactly as they were written"
  ],
  [
    "5 a defect in one remote call leaves the others alone",
    "packages/flows/commands/test/Protocols.live.test.ts",
    "a defect in one RPC handler ends neither the connection nor the other calls on it"
  ],
  [
    "a deadline answers on time",
    "packages/resilience/test/Deadline.test.ts",
    "MUST: answers on time though the work cannot be interrupted"
  ]
] as const

describe("each MUST has its test", () => {
  it.each(proofs)("%s", (_rule, path, name) => {
    expect(tests.find((test) => test.path === path)?.text ?? "").toContain(name)
  })
})

const product = sources.filter(({ path }) => /^(packages|apps)\//.test(path) && !path.startsWith("packages/testkit/"))
const places = (words: RegExp) => product.filter(({ text }) => words.test(text)).map(({ path }) => path)

describe("no other file", () => {
  it("2 serves HTTP without a bound on bodies", () => {
    for (const path of places(/NodeHttpServer\.(make|layer)\w*\(/)) {
      expect(product.find((source) => source.path === path)?.text, path).toContain("MaxBodySize")
    }
  })

  it("3 begins a transaction of its own", () => {
    expect(places(/\.withTransaction\(/)).toEqual(["packages/adapters/database/src/Transaction.ts"])
  })

  it("4 has names rewritten", () => {
    expect(places(/transform(Query|Result)Names/)).toEqual([])
    for (const path of places(/PgClient\.layer\(/)) {
      expect(product.find((source) => source.path === path)?.text, path).toContain("transformJson: false")
    }
  })

  it("5 serves remote calls whose defects are fatal to each other", () => {
    for (const path of places(/RpcServer\.(layer|make|toHttp)\w*\(/)) {
      expect(product.find((source) => source.path === path)?.text, path).toContain("disableFatalDefects: true")
    }
  })
})
