// The real file gateway as a process of its own on a data folder of its own, with keys and tokens, and nothing else beside it.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { createKeySet, issueToken } from "@holdfast/identity/Tokens"
import { ProcessUnderTest } from "@holdfast/testkit/ProcessUnderTest"
import { freshPort } from "@holdfast/testkit/TestServers"
import { Duration, Effect, Redacted } from "effect"
import { Upload } from "tus-js-client"

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))
export const downloadKey = "a key for tests, of more than 32 characters"

export class RunningGateway {
  readonly dataDir = mkdtempSync(join(tmpdir(), "holdfast-gateway-"))
  readonly port: number
  readonly #process = new ProcessUnderTest(main)
  readonly #settings: Readonly<Record<string, string>>
  private constructor(port: number, settings: Readonly<Record<string, string>>) {
    this.port = port
    this.#settings = settings
  }

  /** @param settings what else its environment says */
  static readonly makeWith = (settings: Readonly<Record<string, string>>) =>
    Effect.acquireRelease(
      Effect.promise(async () => {
        const gateway = new RunningGateway(await freePort(), settings)
        await Effect.runPromise(createKeySet(join(gateway.dataDir, "keys")))
        await gateway.start()
        return gateway
      }),
      (gateway) =>
        Effect.promise(async () => {
          await gateway.end("SIGKILL")
          rmSync(gateway.dataDir, { recursive: true, force: true })
        })
    )

  static readonly make = RunningGateway.makeWith({})

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  get pid(): number | undefined {
    return this.#process.pid
  }

  async start(): Promise<void> {
    await this.#process.start({
      HOLDFAST_DATA_DIR: this.dataDir,
      HOLDFAST_FILE_PORT: String(this.port),
      HOLDFAST_DOWNLOAD_KEY: downloadKey,
      HOLDFAST_ALLOWED_ORIGINS: "https://desk.example",
      ...this.#settings
    })
  }

  /** Its exit code; null when the signal ended it. */
  end(signal: "SIGKILL" | "SIGTERM"): Promise<number | null> {
    return this.#process.end(signal)
  }

  token(id: string): Promise<string> {
    const issued = issueToken({
      directory: join(this.dataDir, "keys"),
      issuer: "holdfast",
      audience: "holdfast",
      principal: { id: PrincipalId.make(id), role: "customer" },
      lifetime: Duration.minutes(10)
    })
    return Effect.runPromise(Effect.map(issued, Redacted.value))
  }

  /** The names below a folder of the file flow, whatever their depth. */
  files(folder: string): ReadonlyArray<string> {
    const root = join(this.dataDir, "files", folder)
    return readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => entry.name)
  }

  journal(): ReadonlyArray<unknown> {
    const folder = join(this.dataDir, "files", "journal")
    return this.files("journal").map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")))
  }

  async begin(token: string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(`${this.url}/files/`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "tus-resumable": "1.0.0",
        "upload-length": "10",
        "upload-metadata": metadata({ filename: "a.txt", filetype: "text/plain" }),
        ...headers
      }
    })
  }

  async send(
    token: string,
    location: string,
    offset: number,
    body: string | Uint8Array<ArrayBuffer>
  ): Promise<Response> {
    return fetch(new URL(location, this.url), {
      method: "PATCH",
      headers: {
        authorization: `Bearer ${token}`,
        "tus-resumable": "1.0.0",
        "content-type": "application/offset+octet-stream",
        "upload-offset": String(offset)
      },
      body
    })
  }

  async ask(token: string, location: string, method = "HEAD"): Promise<Response> {
    return fetch(new URL(location, this.url), {
      method,
      headers: { authorization: `Bearer ${token}`, "tus-resumable": "1.0.0" }
    })
  }
}

export const metadata = (fields: Record<string, string>): string =>
  Object.entries(fields)
    .map(([key, value]) => `${key} ${Buffer.from(value).toString("base64")}`)
    .join(",")

/** Through tus-js-client until it is done. */
export const uploadAll = async (options: {
  readonly endpoint: string
  readonly token: string
  readonly content: Buffer
  readonly name: string
  readonly chunkSize?: number
  readonly onAccepted?: (acceptedBytes: number) => void
  readonly onFailure?: () => void
}): Promise<{ readonly url: string; readonly failures: number }> => {
  const done = Promise.withResolvers<void>()
  let failures = 0
  const upload = new Upload(options.content, {
    endpoint: options.endpoint,
    chunkSize: options.chunkSize ?? 8 << 20,
    headers: { authorization: `Bearer ${options.token}` },
    metadata: { filename: options.name, filetype: "application/octet-stream" },
    retryDelays: Array.from({ length: 120 }, () => 250),
    onShouldRetry: () => {
      failures++
      options.onFailure?.()
      return true
    },
    onChunkComplete: (_size, accepted) => options.onAccepted?.(accepted),
    onSuccess: () => done.resolve(),
    onError: done.reject
  })
  upload.start()
  await done.promise
  return { url: upload.url ?? "", failures }
}

export const freePort = (): Promise<number> => Effect.runPromise(freshPort)
