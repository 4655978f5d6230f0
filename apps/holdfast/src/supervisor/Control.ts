// How other commands reach a running desk: HTTP over a Unix socket that only the desk's account can open. It tells how the processes are
// and takes drills. Both sides of it are in this file.
import { createHash } from "node:crypto"
import { lstatSync, mkdirSync } from "node:fs"
import { chmod, rm } from "node:fs/promises"
import { createServer, request } from "node:http"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Supervisor } from "@holdfast/resilience/Limits"
import { Effect, Layer, Schema } from "effect"
import { HttpIncomingMessage, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { refuse } from "../Refusal.ts"
import type { KeptState } from "./Keeper.ts"
import { OutageRequest, type Outages, PossibleOutage } from "./Outage.ts"
import { RestartProgress, type Rolling } from "./Rolling.ts"

export interface Desk {
  readonly states: Effect.Effect<ReadonlyArray<KeptState>>
  readonly outages: Outages
  readonly rolling: Rolling
}

/** A socket's path may be about a hundred bytes long; a longer one moves to a private folder of the same name for everybody. */
export const controlPath = (runFolder: string): string => {
  const path = join(runFolder, "control.sock")
  if (Buffer.byteLength(path) <= 100) return path
  return join(tmpdir(), `holdfast-${createHash("sha256").update(runFolder).digest("hex").slice(0, 16)}`, "control.sock")
}

export const serveControl = (path: string, desk: Desk) =>
  Layer.unwrap(
    Effect.gen(function* () {
      yield* Effect.try({
        try: () => privateFolder(dirname(path)),
        catch: () => refuse(`${dirname(path)} is not ours alone.`)
      })
      yield* Effect.promise(() => rm(path, { force: true }))
      const server = NodeHttpServer.layer(createServer, { path, gracefulShutdownTimeout: "1 second" })
      return Layer.effectDiscard(Effect.promise(() => chmod(path, 0o600))).pipe(
        Layer.provideMerge(HttpRouter.serve(routes(desk), { disableLogger: true, disableListenLog: true })),
        Layer.provide(server),
        Layer.provide(Layer.succeed(HttpIncomingMessage.MaxBodySize, Supervisor.controlRequestBytesMax))
      )
    })
  )

const privateFolder = (folder: string): void => {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { mode, uid } = lstatSync(folder)
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0) throw new Error("somebody else may enter it")
}

const answer = (status: number, body: unknown) => HttpServerResponse.jsonUnsafe(body, { status })

const routes = (desk: Desk) =>
  Layer.mergeAll(
    HttpRouter.add(
      "GET",
      "/status",
      Effect.map(desk.states, (states) => answer(200, states))
    ),
    HttpRouter.add("POST", "/restart", beginRestart(desk)),
    HttpRouter.add(
      "GET",
      "/restart",
      Effect.map(desk.rolling.progress, (progress) => answer(200, progress))
    ),
    HttpRouter.add("POST", "/outage", beginOutage(desk)),
    HttpRouter.add("GET", "/outage", Effect.succeed(answer(200, desk.outages.possible))),
    HttpRouter.add("DELETE", "/outage", Effect.as(desk.outages.end, answer(200, {})))
  )

const RestartRequest = Schema.Struct({ process: Schema.NullOr(Schema.String) })

const beginRestart = ({ rolling }: Desk) =>
  Effect.gen(function* () {
    const { process } = yield* HttpServerRequest.schemaBodyJson(RestartRequest)
    yield* rolling.begin(process)
    return answer(202, {})
  }).pipe(
    Effect.catchTags({
      RestartRefused: ({ sentence }) => Effect.succeed(answer(409, { sentence })),
      SchemaError: (error) => Effect.succeed(answer(400, { sentence: error.message })),
      HttpServerError: () => Effect.succeed(answer(400, { sentence: "The request could not be read." }))
    })
  )

const beginOutage = (desk: Desk) =>
  Effect.gen(function* () {
    yield* desk.outages.begin(yield* HttpServerRequest.schemaBodyJson(OutageRequest))
    return answer(202, {})
  }).pipe(
    Effect.catchTags({
      OutageRefused: ({ sentence }) => Effect.succeed(answer(409, { sentence })),
      SchemaError: (error) => Effect.succeed(answer(400, { sentence: error.message })),
      HttpServerError: () => Effect.succeed(answer(400, { sentence: "The request could not be read." }))
    })
  )

const KeptStates = Schema.Array(
  Schema.Struct({
    name: Schema.String,
    phase: Schema.Literals(["starting", "ready", "held", "restarting", "stopped"]),
    pid: Schema.NullOr(Schema.Int),
    restarts: Schema.Int,
    sinceMs: Schema.Finite,
    detail: Schema.NullOr(Schema.String),
    address: Schema.NullOr(Schema.String)
  })
)

export const askStates = (path: string) =>
  Effect.flatMap(ask(path, "GET", "/status"), (answered) => Schema.decodeUnknownEffect(KeptStates)(answered.body)).pipe(
    Effect.mapError(() => refuse("The running desk does not answer on its control socket."))
  )

const Sentence = Schema.Struct({ sentence: Schema.String })

export const askOutage = (path: string, outage: OutageRequest) =>
  Effect.flatMap(ask(path, "POST", "/outage", outage), ({ body, status }) =>
    status === 202
      ? Effect.void
      : Effect.flatMap(Schema.decodeUnknownEffect(Sentence)(body), ({ sentence }) => Effect.fail(refuse(sentence)))
  ).pipe(
    Effect.mapError((error) => (error._tag === "Refusal" ? error : refuse("The running desk did not take the drill.")))
  )

/** Taken: it goes on by itself from now on. */
export const askRestart = (path: string, process: string | null) =>
  Effect.flatMap(ask(path, "POST", "/restart", { process }), ({ body, status }) =>
    status === 202
      ? Effect.void
      : Effect.flatMap(Schema.decodeUnknownEffect(Sentence)(body), ({ sentence }) => Effect.fail(refuse(sentence)))
  ).pipe(
    Effect.mapError((error) =>
      error._tag === "Refusal" ? error : refuse("The running desk did not take the restart.")
    )
  )

export const askRestartProgress = (path: string) =>
  Effect.flatMap(ask(path, "GET", "/restart"), ({ body }) => Schema.decodeUnknownEffect(RestartProgress)(body)).pipe(
    Effect.mapError(() => refuse("The running desk does not answer on its control socket any more."))
  )

/** What can be broken here, and how. */
export const askPossible = (path: string) =>
  Effect.flatMap(ask(path, "GET", "/outage"), ({ body }) =>
    Schema.decodeUnknownEffect(Schema.Array(PossibleOutage))(body)
  ).pipe(
    Effect.mapError((error) => (error._tag === "Refusal" ? error : refuse("The running desk is of another version.")))
  )

export const askHeal = (path: string) => Effect.ignore(ask(path, "DELETE", "/outage"))

interface Answered {
  readonly status: number
  readonly body: unknown
}

const ask = (socketPath: string, method: string, path: string, body?: unknown) =>
  Effect.tryPromise({
    try: (signal) =>
      new Promise<Answered>((resolve, reject) => {
        const headers = { "content-type": "application/json" }
        const asked = request({ socketPath, method, path, headers, signal, agent: false }, (response) => {
          let text = ""
          response.setEncoding("utf8").on("data", (chunk) => {
            text += chunk
          })
          response.on("end", () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) }))
        })
        asked.on("error", reject)
        asked.end(body === undefined ? undefined : JSON.stringify(body))
      }),
    catch: () => refuse("No desk is running on this data folder: start one with `holdfast up`.")
  }).pipe(
    Effect.timeoutOrElse({
      duration: "10 seconds",
      orElse: () => Effect.fail(refuse("The running desk does not answer on its control socket."))
    })
  )
