import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { readRules, readWebhooks } from "../src/files.ts"

const fileWith = (text: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(join(tmpdir(), "holdfast-worker-"))
      const file = join(folder, "list.json")
      writeFileSync(file, text)
      return { folder, file: Option.some(file) }
    }),
    ({ folder }) => Effect.sync(() => rmSync(folder, { recursive: true }))
  )

const secret = `whsec_${Buffer.alloc(24, 7).toString("base64")}`

describe("the files of an event worker", () => {
  it.effect("are empty lists where nothing is set", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* readRules(Option.none()), [])
      assert.deepStrictEqual(yield* readWebhooks(Option.none()), [])
    })
  )

  it.effect("name the endpoints of webhooks, with the secret out of sight", () =>
    Effect.gen(function* () {
      const { file } = yield* fileWith(JSON.stringify([{ id: "crm", url: "https://crm.example/hook", secret }]))
      const [endpoint] = yield* readWebhooks(file)
      assert.strictEqual(endpoint?.id, "crm")
      assert.strictEqual(String(endpoint?.secret), "<redacted>")
    })
  )

  it.effect("are refused in one sentence that names the variable and never the secret", () =>
    Effect.gen(function* () {
      const wrong = [{ id: "crm", url: "ftp://crm.example", secret: "whsec_too-short-but-secret" }]
      const { file } = yield* fileWith(JSON.stringify(wrong))
      const { exitCode, message } = yield* Effect.flip(readWebhooks(file))
      assert.match(message, /^HOLDFAST_WEBHOOKS names .*list\.json, but .*an http\(s\) URL/)
      assert.notMatch(message, /too-short-but-secret|\n/)
      assert.strictEqual(exitCode, 78)
    })
  )

  it.effect("are refused when they are not there or not JSON", () =>
    Effect.gen(function* () {
      const { file } = yield* fileWith("[{")
      assert.match((yield* Effect.flip(readRules(file))).message, /^HOLDFAST_RULES names /)
      assert.match((yield* Effect.flip(readRules(Option.some("/nowhere.json")))).message, /but it cannot be read\.$/)
    })
  )
})
