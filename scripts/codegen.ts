// Writes what is generated from the contracts: the gRPC service and the GraphQL schema. With `--check` it writes nothing and fails when something is out of
// date, naming the command that brings it up to date.
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { printedSchema } from "@holdfast/queries/graphql/Printed"
import { commandProto } from "./src/CommandProto.ts"

const root = resolve(import.meta.dirname, "..")

const generated: ReadonlyArray<{ readonly path: string; readonly text: string }> = [
  { path: join(root, "packages/contracts/src/wire/holdfast.proto"), text: commandProto() },
  { path: join(root, "packages/contracts/src/wire/schema.graphql"), text: printedSchema() }
]

const isCurrent = ({ path, text }: (typeof generated)[number]) =>
  existsSync(path) && readFileSync(path, "utf8") === text

const outdated = generated.filter((file) => !isCurrent(file))

if (process.argv.includes("--check")) {
  for (const { path } of outdated) process.stderr.write(`${path} is out of date: run \`pnpm codegen\`.\n`)
  process.exitCode = outdated.length === 0 ? 0 : 1
} else {
  for (const { path, text } of outdated) {
    writeFileSync(path, text)
    process.stdout.write(`Wrote ${path}\n`)
  }
}
