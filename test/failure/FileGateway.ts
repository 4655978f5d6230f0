// The file gateway alone, as a process on a data folder that the test chose, with what a test wants to know of an upload: raw tus requests, so
// that each answer is seen as the client gets it.
import { join } from "node:path"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { createKeySet, issueToken } from "@holdfast/identity/Tokens"
import { choosePort } from "@holdfast/scripts/Ports"
import { ProcessUnderTest } from "@holdfast/testkit/ProcessUnderTest"
import { Duration, Effect, Redacted } from "effect"

const main = join(import.meta.dirname, "../../apps/file-gateway/src/main.ts")
export const downloadKey = "a key for tests, of more than 32 characters"

/** By the keys of this data folder, and by this test's clock. */
export const tokenFor = (dataDir: string, lifetime: Duration.Duration) =>
  Effect.map(
    issueToken({
      directory: join(dataDir, "keys"),
      principal: { id: PrincipalId.make("ada"), role: "agent" },
      issuer: "holdfast",
      audience: "holdfast",
      lifetime
    }),
    Redacted.value
  )

export interface Answer {
  readonly status: number
  /** What the server says that it has. */
  readonly offset: number | null
  readonly tag: string | null
  readonly title: string | null
}

export class FileGateway {
  readonly dataDir: string
  readonly port: number
  readonly token: string
  readonly #process = new ProcessUnderTest(main)

  private constructor(dataDir: string, port: number, token: string) {
    this.dataDir = dataDir
    this.port = port
    this.token = token
  }

  static readonly make = (dataDir: string) =>
    Effect.gen(function* () {
      yield* createKeySet(join(dataDir, "keys"))
      // Longer than any clock of these tests is off.
      const token = yield* tokenFor(dataDir, Duration.days(30))
      return yield* FileGateway.on(dataDir, token)
    })

  /** Another one on a data folder that is in use, with something of its own in its environment. */
  static readonly on = (dataDir: string, token: string, environment: Readonly<Record<string, string>> = {}) =>
    Effect.acquireRelease(
      Effect.promise(async () => {
        const gateway = new FileGateway(dataDir, await choosePort(undefined, new Set()), token)
        await gateway.start(environment)
        return gateway
      }),
      (gateway) => Effect.promise(() => gateway.kill())
    )

  get pid(): number {
    return this.#process.pid ?? 0
  }

  get uploadsFolder(): string {
    return join(this.dataDir, "files", "uploads")
  }

  async start(environment: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.#process.start({
      HOLDFAST_DATA_DIR: this.dataDir,
      HOLDFAST_FILE_PORT: String(this.port),
      HOLDFAST_DOWNLOAD_KEY: downloadKey,
      HOLDFAST_DISK_RESERVE_MIB: "0",
      ...environment
    })
  }

  /** With -9. */
  async kill(): Promise<void> {
    await this.#process.end("SIGKILL")
  }

  /** The new upload's path, or the refusal. */
  async create(sizeBytes: number, token = this.token): Promise<{ readonly answer: Answer; readonly path: string }> {
    const name = Buffer.from("note.txt").toString("base64")
    const type = Buffer.from("text/plain").toString("base64")
    const response = await this.#send("POST", "/files/", {
      authorization: `Bearer ${token}`,
      "upload-length": String(sizeBytes),
      "upload-metadata": `filename ${name},filetype ${type}`
    })
    return { answer: await answerOf(response), path: response.headers.get("location") ?? "" }
  }

  /** Sends everything from the offset on. */
  async patch(path: string, bytes: Buffer, offset: number): Promise<Answer> {
    const headers = { "upload-offset": String(offset), "content-type": "application/offset+octet-stream" }
    return answerOf(await this.#send("PATCH", path, headers, bytes.subarray(offset)))
  }

  async head(path: string): Promise<Answer> {
    return answerOf(await this.#send("HEAD", path))
  }

  async get(path: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.port}${path}`)
  }

  /** Asks for the offset and sends the rest, as a client does. */
  async resume(path: string, bytes: Buffer): Promise<Answer> {
    const { offset } = await this.head(path)
    return this.patch(path, bytes, offset ?? 0)
  }

  #send(
    method: string,
    path: string,
    headers: Readonly<Record<string, string>> = {},
    body?: Buffer
  ): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.port}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.token}`, "tus-resumable": "1.0.0", ...headers },
      ...(body === undefined ? {} : { body: new Uint8Array(body) })
    })
  }
}

const answerOf = async (response: Response): Promise<Answer> => {
  const text = await response.text()
  const problem = text.startsWith("{") ? JSON.parse(text) : {}
  const offset = response.headers.get("upload-offset")
  return {
    status: response.status,
    offset: offset === null ? null : Number(offset),
    tag: problem.type?.split(":").at(-1) ?? null,
    title: problem.title ?? null
  }
}
