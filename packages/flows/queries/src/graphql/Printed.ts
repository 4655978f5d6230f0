// The schema as text, as it stands in `contracts/src/wire/schema.graphql` for clients and their tools.
import { printSchema } from "graphql"
import { schema } from "./Schema.ts"

export const printedSchema = (): string =>
  `# The desk's queries. Made by \`pnpm codegen\`; a test keeps it current.\n\n${printSchema(schema)}\n`
