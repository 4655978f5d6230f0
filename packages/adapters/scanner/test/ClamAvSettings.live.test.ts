// A real clamd as it is set by default passes what it cannot look into, and is found out.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, layer } from "@effect/vitest"
import { Health } from "@holdfast/resilience/Health"
import { clamdPlan } from "@holdfast/scripts/ClamdServer"
import { choosePort } from "@holdfast/scripts/Ports"
import { ServerProcess } from "@holdfast/scripts/ServerProcess"
import { Context, Effect, Layer } from "effect"
import * as ScannerClamAv from "../src/ScannerClamAv.ts"
import { encryptedZip, scan } from "./ScannerContract.ts"

class LaxClamd extends Context.Service<LaxClamd, { readonly url: string }>()("test/LaxClamd") {}

const start = async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-lax-clamd-"))
  const plan = clamdPlan(folder, await choosePort(undefined, new Set()))
  const configuration = join(plan.folder, "clamd.conf")
  const prepare = async () => {
    await plan.prepare()
    writeFileSync(configuration, readFileSync(configuration, "utf8").replace(/^Alert.*$/gm, ""))
  }
  const server = new ServerProcess({ ...plan, prepare })
  await server.start()
  return { url: plan.url, stop: () => server.stop().finally(() => rmSync(folder, { recursive: true, force: true })) }
}

const clamd = Layer.effect(
  LaxClamd,
  Effect.acquireRelease(Effect.promise(start), ({ stop }) => Effect.promise(stop))
)

layer(clamd, { timeout: 180_000, excludeTestServices: true })("a clamd that raises no alert", (it) => {
  it.effect("is named as such in its verdicts, and to the operator", () =>
    Effect.gen(function* () {
      const { url } = yield* LaxClamd
      expect((yield* ScannerClamAv.examine({ url })).missing).toEqual(["AlertEncrypted yes", "AlertExceedsMax yes"])
      const verdict = yield* scan(encryptedZip).pipe(
        Effect.provide(ScannerClamAv.layer({ url }).pipe(Layer.provide(Health.layer)))
      )
      expect(verdict._tag).toBe("Clean")
      expect(verdict.tool.version).toContain("AlertEncrypted no, AlertExceedsMax no")
    })
  )
})
