// The servers that uploads are measured against, each a process of its own on a folder of its own beside the project, so that all of them write
// to the same real disk; and the least of a tus client.
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { type Agent, request } from "node:http"
import { join, resolve } from "node:path"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { fileGateway } from "@holdfast/holdfast/Fleet"
import { createKeySet, issueToken } from "@holdfast/identity/Tokens"
import { choosePort } from "@holdfast/scripts/Ports"
import { Duration, Effect, Redacted } from "effect"

export const root = resolve(import.meta.dirname, "../..")

export interface Running {
  readonly url: string
  readonly port: number
  readonly tokens: ReadonlyArray<string>
  readonly pid: number
  readonly stop: () => Promise<void>
}

export const startPlain = (): Promise<Running> => startBeside("plain-stream.ts")

/** `flushed`: each upload before it is answered. */
export const startBare = (...flags: ReadonlyArray<"flushed">): Promise<Running> => startBeside("bare-tus.ts", ...flags)

const startBeside = async (program: string, ...flags: ReadonlyArray<string>): Promise<Running> => {
  const folder = newFolder()
  const port = await choosePort(undefined, new Set())
  const child = await started([join(import.meta.dirname, program), String(port), folder, ...flags], {})
  return running(child, folder, port, [])
}

export const startGateway = async (people: number, nodeFlags: ReadonlyArray<string> = []): Promise<Running> => {
  const folder = newFolder()
  const port = await choosePort(undefined, new Set())
  const keys = join(folder, "keys")
  await Effect.runPromise(createKeySet(keys))
  const environment = {
    HOLDFAST_DATA_DIR: folder,
    HOLDFAST_FILE_PORT: String(port),
    HOLDFAST_DOWNLOAD_KEY: "a key for benches, of more than 32 characters"
  }
  const child = await started(
    [...fileGateway.nodeFlags, ...nodeFlags, join(root, "apps/file-gateway/src/main.ts")],
    environment
  )
  const tokens = await Promise.all(
    Array.from({ length: people }, (_, index) => tokenOf(keys, `sender-${index}`, "customer"))
  )
  return running(child, folder, port, tokens)
}

export const tokenOf = (directory: string, id: string, role: "customer" | "agent"): Promise<string> => {
  const principal = { id: PrincipalId.make(id), role } as const
  const options = { directory, issuer: "holdfast", audience: "holdfast", principal, lifetime: Duration.hours(2) }
  return Effect.runPromise(Effect.map(issueToken(options), Redacted.value))
}

const started = async (
  command: ReadonlyArray<string>,
  environment: Readonly<Record<string, string>>
): Promise<ChildProcess> => {
  const child = spawn(process.execPath, [...command], {
    env: { PATH: process.env.PATH ?? "", ...environment },
    stdio: ["ignore", "pipe", "inherit"]
  })
  const ready = Promise.withResolvers<void>()
  child.stdout.on("data", (chunk: Buffer) => {
    if (chunk.toString().includes("is ready")) ready.resolve()
  })
  child.once("exit", (code) => ready.reject(new Error(`${command.join(" ")} ended with ${code}`)))
  await ready.promise
  return child
}

export const newFolder = (): string => {
  mkdirSync(join(root, ".holdfast"), { recursive: true })
  return mkdtempSync(join(root, ".holdfast", "bench-files-"))
}

const running = (child: ChildProcess, folder: string, port: number, tokens: ReadonlyArray<string>): Running => ({
  url: `http://127.0.0.1:${port}`,
  port,
  tokens,
  pid: child.pid ?? 0,
  stop: async () => {
    const exited = once(child, "exit")
    child.kill("SIGTERM")
    await exited
    rmSync(folder, { recursive: true, force: true })
  }
})

export interface Sending {
  readonly url: string
  readonly token: string | undefined
  readonly agent: Agent
  readonly name?: string
  readonly type?: string
}

/** One PATCH; the upload's path. */
export const uploadOne = async (
  { agent, name = "bench.bin", token, type, url }: Sending,
  bytes: Buffer
): Promise<string> => {
  const common = { "tus-resumable": "1.0.0", ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) }
  const metadata = [`filename ${base64(name)}`, ...(type === undefined ? [] : [`filetype ${base64(type)}`])].join(",")
  const begun = await send(`${url}/files`, "POST", agent, null, {
    ...common,
    "upload-length": String(bytes.length),
    "upload-metadata": metadata
  })
  const done = await send(new URL(begun.location, url).href, "PATCH", agent, bytes, {
    ...common,
    "content-type": "application/offset+octet-stream",
    "content-length": String(bytes.length),
    "upload-offset": "0"
  })
  if (begun.status !== 201 || done.status !== 204) throw new Error(`answered ${begun.status} and ${done.status}`)
  return begun.location
}

const base64 = (text: string): string => Buffer.from(text).toString("base64")

const send = (url: string, method: string, agent: Agent, body: Buffer | null, headers: Record<string, string>) =>
  new Promise<{ readonly status: number; readonly location: string }>((settle, reject) => {
    const sent = request(url, { method, agent, headers }, (answer) => {
      answer.resume()
      answer.on("end", () => settle({ status: answer.statusCode ?? 0, location: answer.headers.location ?? "" }))
    })
    sent.on("error", reject)
    sent.end(body ?? undefined)
  })
