// Eight uploads of 64 MiB at once through the file gateway, against the bare tus library on the same disk in the same run. The gateway also
// checks a token, hashes every byte, flushes to the disk before it acknowledges, moves the content into the quarantine and writes a journal
// entry; the bare server does none of this, so the ratio is the price of it.
import { type ChildProcess, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { Agent, request } from "node:http"
import { createServer } from "node:net"
import { join, resolve } from "node:path"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { createKeySet, issueToken } from "@holdfast/identity/Tokens"
import { Duration, Effect, Redacted } from "effect"
import { type Naming, profileParts } from "./Profile.ts"
import { median, rounded, table, writeSection } from "./Report.ts"

const root = resolve(import.meta.dirname, "../..")
const uploadsAtOnce = 8
const sizeMebibytes = 64
const rounds = 3
const content = randomBytes(sizeMebibytes << 20)

interface Running {
  readonly url: string
  readonly tokens: ReadonlyArray<string>
  readonly child: ChildProcess
  readonly folder: string
}

const startBare = async (...flags: ReadonlyArray<string>): Promise<Running> => {
  const folder = newFolder()
  const port = await freePort()
  const child = await started([join(import.meta.dirname, "bare-tus.ts"), String(port), folder, ...flags], {})
  return { url: `http://127.0.0.1:${port}`, tokens: [], child, folder }
}

const startGateway = async (nodeFlags: ReadonlyArray<string> = []): Promise<Running> => {
  const folder = newFolder()
  const port = await freePort()
  const keys = join(folder, "keys")
  await Effect.runPromise(createKeySet(keys))
  const environment = {
    HOLDFAST_DATA_DIR: folder,
    HOLDFAST_FILE_PORT: String(port),
    HOLDFAST_DOWNLOAD_KEY: "a key for benches, of more than 32 characters"
  }
  const child = await started([...nodeFlags, join(root, "apps/file-gateway/src/main.ts")], environment)
  const tokens = await Promise.all(
    Array.from({ length: uploadsAtOnce }, (_, index) => tokenOf(keys, `sender-${index}`))
  )
  return { url: `http://127.0.0.1:${port}`, tokens, child, folder }
}

const tokenOf = (directory: string, id: string): Promise<string> => {
  const principal = { id: PrincipalId.make(id), role: "customer" } as const
  const options = { directory, issuer: "holdfast", audience: "holdfast", principal, lifetime: Duration.hours(1) }
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

/** Beside the project, so that both servers write to the same real disk. */
const newFolder = (): string => {
  mkdirSync(join(root, ".holdfast"), { recursive: true })
  return mkdtempSync(join(root, ".holdfast", "bench-upload-"))
}

const stop = async ({ child, folder }: Running): Promise<void> => {
  const exited = once(child, "exit")
  child.kill("SIGTERM")
  await exited
  rmSync(folder, { recursive: true, force: true })
}

/** MiB a second over all uploads. */
const round = async (start: () => Promise<Running>): Promise<number> => {
  const server = await start()
  try {
    const agent = new Agent({ keepAlive: true })
    await uploadOne(server.url, server.tokens[0], agent, content.subarray(0, 1 << 20))
    const beganAt = performance.now()
    await Promise.all(
      Array.from({ length: uploadsAtOnce }, (_, index) => uploadOne(server.url, server.tokens[index], agent, content))
    )
    const seconds = (performance.now() - beganAt) / 1000
    agent.destroy()
    return (uploadsAtOnce * sizeMebibytes) / seconds
  } finally {
    await stop(server)
  }
}

const uploadOne = async (url: string, token: string | undefined, agent: Agent, bytes: Buffer): Promise<void> => {
  const common = { "tus-resumable": "1.0.0", ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) }
  const begun = await send(`${url}/files`, "POST", agent, null, {
    ...common,
    "upload-length": String(bytes.length),
    "upload-metadata": `filename ${Buffer.from("bench.bin").toString("base64")}`
  })
  const done = await send(new URL(begun.location, url).href, "PATCH", agent, bytes, {
    ...common,
    "content-type": "application/offset+octet-stream",
    "content-length": String(bytes.length),
    "upload-offset": "0"
  })
  if (begun.status !== 201 || done.status !== 204) throw new Error(`answered ${begun.status} and ${done.status}`)
}

const send = (url: string, method: string, agent: Agent, body: Buffer | null, headers: Record<string, string>) =>
  new Promise<{ readonly status: number; readonly location: string }>((settle, reject) => {
    const sent = request(url, { method, agent, headers }, (answer) => {
      answer.resume()
      answer.on("end", () => settle({ status: answer.statusCode ?? 0, location: answer.headers.location ?? "" }))
    })
    sent.on("error", reject)
    sent.end(body ?? undefined)
  })

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  await once(server, "close")
  if (address === null || typeof address === "string") throw new Error("no port")
  return address.port
}

const bare: Array<number> = []
const flushed: Array<number> = []
const gateway: Array<number> = []
for (let index = 0; index < rounds; index++) {
  bare.push(await round(() => startBare()))
  flushed.push(await round(() => startBare("flushed")))
  gateway.push(await round(() => startGateway()))
}

const naming: Naming = [
  ["SHA-256", /node:internal\/crypto/],
  ["the file flow", /packages\/flows\/files/],
  ["tus library", /@tus|srvx/],
  ["Effect", /\/effect\//],
  ["streams", /node:internal\/(streams|webstreams)|node:stream/],
  ["files", /node:(internal\/)?fs/],
  ["HTTP and sockets", /node:(_?http|net|internal\/http)|node:internal\/(net|stream_base)/],
  ["Node, other", /^node:/]
]
const profileFolder = newFolder()
await round(() => startGateway(["--cpu-prof", `--cpu-prof-dir=${profileFolder}`]))
const parts = profileParts(profileFolder, naming)
rmSync(profileFolder, { recursive: true, force: true })

const [bareMedian, flushedMedian, gatewayMedian] = [median(bare), median(flushed), median(gateway)]
writeSection({
  name: "upload",
  title: "Upload: the file gateway against the bare tus library",
  body: `${uploadsAtOnce} uploads of ${sizeMebibytes} MiB at once, one PATCH each, MiB a second in all; ${rounds} rounds in turn, the client on the same machine.

${table(
  ["", "MiB/s (median)", "rounds"],
  [
    ["bare `@tus/server` with `FileStore`", rounded(bareMedian), bare.map(rounded).join(", ")],
    ["the same, flushing each upload to the disk", rounded(flushedMedian), flushed.map(rounded).join(", ")],
    ["file gateway", rounded(gatewayMedian), gateway.map(rounded).join(", ")]
  ]
)}

Ratio to the bare library: ${rounded(gatewayMedian / bareMedian)}; to the bare library that flushes: ${rounded(gatewayMedian / flushedMedian)}. The gateway's bytes are on the disk (flushed), hashed with SHA-256, in the quarantine and journalled when the
last PATCH is answered; the bare server's are in the page cache.

Where the gateway's processor time goes (start included):

${table(
  ["part", "share, %"],
  parts.slice(0, 8).map(({ name, share }) => [name, rounded(share * 100)])
)}`
})
