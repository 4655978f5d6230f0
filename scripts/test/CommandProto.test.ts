// What is generated is what lies in the tree.
import { readFileSync } from "node:fs"
import { protoFile } from "@holdfast/contracts/wire/ProtoFile"
import { expect, it } from "vitest"
import { commandProto } from "../src/CommandProto.ts"

it("holdfast.proto is current: else run `pnpm codegen`", () => {
  expect(readFileSync(protoFile, "utf8")).toBe(commandProto())
})
