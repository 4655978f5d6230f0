// One process whose clock is three days off, among others whose clocks are right. What a clock must decide (is this token, is this link still
// good) it decides wrongly and says in a sentence what may be the cause; what it must not decide (the order of events, whether a command was
// done already, what is too old to keep) it does not.
import { type ChildProcess, spawn } from "node:child_process"
import { randomUUIDv7 } from "node:crypto"
import { once } from "node:events"
import { mkdir, mkdtemp, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { signLink } from "@holdfast/domain/attachment/DownloadLink"
import { createKeySet } from "@holdfast/identity/Tokens"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { choosePort } from "@holdfast/scripts/Ports"
import { skewedClock } from "@holdfast/testkit/SkewedClock"
import { Duration, Effect, Redacted } from "effect"
import { downloadKey, FileGateway, tokenFor } from "./FileGateway.ts"

const ask = <A>(run: () => Promise<A>) => Effect.promise(run)
const folder = Effect.acquireRelease(
  ask(() => mkdtemp(join(tmpdir(), "holdfast-clock-"))),
  (path) => ask(() => rm(path, { recursive: true, force: true }))
)
const bytes = Buffer.from("three days are a long time")

const freshLink = () => {
  const fileId = FileId.make("01890000-0000-7000-8000-000000000000")
  const link = signLink(Redacted.make(downloadKey), {
    fileId,
    sha256: Sha256.make("0".repeat(64)),
    name: "note.txt",
    mediaType: "text/plain",
    principalId: PrincipalId.make("ada"),
    expiresAtSeconds: Math.floor(Date.now() / 1000) + 600
  })
  return `/download/${fileId}?${link}`
}

describe("a file gateway", () => {
  it.live(
    "three days ahead or behind loses none of its neighbours' uploads, nor they its, and says what a clock must refuse",
    () =>
      Effect.gen(function* () {
        const right = yield* FileGateway.make(yield* folder)
        const { dataDir, token } = right
        const shortToken = yield* tokenFor(dataDir, Duration.hours(1))
        const behind = yield* FileGateway.on(dataDir, token, yield* skewedClock(Duration.days(-3)))
        const begun = yield* Effect.forEach([right, behind], (gateway) =>
          ask(async () => {
            const { path } = await gateway.create(bytes.length)
            expect(await gateway.patch(path, bytes.subarray(0, 5), 0)).toMatchObject({ status: 204, offset: 5 })
            return path
          })
        )
        // It sweeps as it starts.
        const ahead = yield* FileGateway.on(dataDir, token, yield* skewedClock(Duration.days(3)))
        for (const path of begun) {
          expect(yield* ask(() => ahead.patch(path, bytes.subarray(0, 9), 5))).toMatchObject({ status: 204, offset: 9 })
          expect(yield* ask(() => behind.head(path))).toMatchObject({ status: 200, offset: 9 })
          expect(yield* ask(() => right.resume(path, bytes))).toMatchObject({ status: 204, offset: bytes.length })
          expect((yield* ask(() => stat(join(right.uploadsFolder, `${basename(path)}.done`)))).size).toBe(bytes.length)
        }
        const refused = yield* ask(() => ahead.get(freshLink()))
        expect(refused.status).toBe(410)
        expect(yield* ask(() => refused.text())).toContain("a clock of the desk is wrong")
        expect((yield* ask(() => ahead.create(1, shortToken))).answer).toMatchObject({
          status: 401,
          title: "the token has expired; if it was just issued, a clock is wrong"
        })
      }),
    180_000
  )
})

const commandApi = join(import.meta.dirname, "../../apps/command-api/src/main.ts")

interface Api {
  readonly url: string
}

const startApi = (environment: Readonly<Record<string, string>>) =>
  Effect.gen(function* () {
    const taken = new Set<number>()
    const [port, grpcPort] = [
      yield* ask(() => choosePort(undefined, taken)),
      yield* ask(() => choosePort(undefined, taken))
    ]
    yield* Effect.acquireRelease(
      ask(() => ready({ HOLDFAST_COMMAND_PORT: String(port), HOLDFAST_GRPC_PORT: String(grpcPort), ...environment })),
      (child) =>
        ask(async () => {
          child.kill("SIGKILL")
          await once(child, "exit")
        })
    )
    const api: Api = { url: `http://127.0.0.1:${port}` }
    return api
  })

const ready = (environment: Readonly<Record<string, string>>): Promise<ChildProcess> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [commandApi], { env: { PATH: process.env.PATH ?? "", ...environment } })
    let said = ""
    for (const output of [child.stdout, child.stderr]) {
      output.on("data", (chunk) => {
        said += String(chunk)
        if (said.includes("is ready")) resolve(child)
      })
    }
    child.once("exit", () => reject(new Error(`the command api ended: ${said}`)))
  })

const send = (api: Api, token: string, path: string, payload: unknown, commandId: string) =>
  ask(async () => {
    const response = await fetch(`${api.url}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json", "idempotency-key": commandId },
      body: JSON.stringify(payload)
    })
    const body: { readonly version: number; readonly replayed: boolean } = JSON.parse(await response.text())
    return { status: response.status, body }
  })

describe("two command apis six days apart", () => {
  it.live(
    "agree on what was done, once and in which order",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* folder
        yield* ask(() => mkdir(join(dataDir, "keys"), { recursive: true }))
        yield* createKeySet(join(dataDir, "keys"))
        const token = yield* tokenFor(dataDir, Duration.days(30))
        const database = Redacted.value(yield* migratedDatabase)
        const environment = { HOLDFAST_DATA_DIR: dataDir, HOLDFAST_DATABASE_URL: database }
        const [ahead, behind] = yield* Effect.all(
          [3, -3].map((days) =>
            Effect.flatMap(skewedClock(Duration.days(days)), (clock) => startApi({ ...environment, ...clock }))
          ),
          { concurrency: 2 }
        )
        if (ahead === undefined || behind === undefined) return expect.unreachable()
        const [ticketId, replyId] = [randomUUIDv7(), randomUUIDv7()]
        const ticket = { subject: "What time is it?", body: "Nobody knows." }
        const replies = `/v1/tickets/${ticketId}/replies`
        const opened = yield* send(ahead, token, "/v1/tickets", ticket, ticketId)
        expect(opened).toMatchObject({ status: 200, body: { version: 1, replayed: false } })
        const replied = yield* send(behind, token, replies, { body: "Now." }, replyId)
        expect(replied).toMatchObject({ status: 200, body: { replayed: false } })
        // A receipt that the other clock would call expired, or not yet made, is a receipt.
        expect(yield* send(behind, token, "/v1/tickets", ticket, ticketId)).toMatchObject({
          body: { version: 1, replayed: true }
        })
        expect(yield* send(ahead, token, replies, { body: "Now." }, replyId)).toMatchObject({
          body: { version: replied.body.version, replayed: true }
        })
        const last = yield* send(ahead, token, replies, { body: "Later." }, randomUUIDv7())
        expect(last.body.version).toBeGreaterThan(replied.body.version)
      }),
    180_000
  )
})
