// What `node scripts/stack.ts` was asked for.
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { type ServerName, serverNames } from "./Stack.ts"

export const stackUsage = `Usage: node scripts/stack.ts <up|down|status|env> [options]
  up       start private PostgreSQL, RabbitMQ, Redis and clamd, and keep them until Ctrl-C
  down     end them and remove their files
  status   which of them run, and where
  env      shell lines that let the tests find them: eval "$(node scripts/stack.ts env)"
Options:
  --detach         up: return once they answer; they run until "down"
  --folder FOLDER  where they keep their files (default .test/servers)
  --only A,B       up: only these of ${serverNames.join(", ")}
  --json           answer in JSON`

const actions = ["up", "down", "status", "env"] as const

export interface StackArguments {
  readonly action: (typeof actions)[number]
  readonly folder: string
  readonly only: ReadonlyArray<ServerName>
  readonly detach: boolean
  readonly json: boolean
  readonly untilInputEnds: boolean
}

/** Throws with one sentence for people when the arguments make no sense. */
export const parseStackArguments = (args: ReadonlyArray<string>, root: string): StackArguments => {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      detach: { type: "boolean", default: false },
      folder: { type: "string", default: ".test/servers" },
      json: { type: "boolean", default: false },
      only: { type: "string", default: serverNames.join(",") },
      "until-input-ends": { type: "boolean", default: false }
    }
  })
  const action = actions.find((name) => name === positionals[0])
  if (action === undefined || positionals.length !== 1) throw new Error("Say one of: up, down, status, env.")
  return {
    action,
    folder: resolve(root, values.folder),
    only: values.only.split(",").map(serverName),
    detach: values.detach,
    json: values.json,
    untilInputEnds: values["until-input-ends"]
  }
}

const serverName = (text: string): ServerName => {
  const found = serverNames.find((name) => name === text.trim())
  if (found === undefined) throw new Error(`There is no server "${text}"; there are ${serverNames.join(", ")}.`)
  return found
}
