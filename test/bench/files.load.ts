// The file traffic of beside.bench.ts, in a process of its own that stands behind everything on the machine: in life these are other machines.
// Uploads of many mebibytes are never completed and given up at the end, so that the disk does not fill; small ones are completed, so that the
// pipeline has work; downloads are read and thrown away. Until it is told to stop, when it says how much it moved.
import { randomBytes } from "node:crypto"
import { Agent, get, request } from "node:http"
import { setTimeout as pause } from "node:timers/promises"
import { uploadOne } from "./UploadServers.ts"

export interface FileOrder {
  readonly fileUrl: string
  readonly link: string
  readonly uploaders: ReadonlyArray<string>
  readonly downloaders: number
  readonly uploadMebibytes: number
  readonly smallEveryMs: number
}

export interface FileTraffic {
  readonly uploadedBytes: number
  readonly downloadedBytes: number
  readonly completed: number
}

const agent = new Agent({ keepAlive: true })
let [uploadedBytes, downloadedBytes, completed, isOver] = [0, 0, 0, false]

const untilTold = async (work: () => Promise<void>): Promise<void> => {
  while (!isOver) {
    // A transfer that is refused because all of them are under way comes again.
    await work().catch(() => pause(100))
  }
}

/** One byte short of its end, and taken back. */
const uploadAlmost = async ({ fileUrl, uploadMebibytes }: FileOrder, token: string): Promise<void> => {
  const bytes = randomBytes(uploadMebibytes << 20)
  const headers = { authorization: `Bearer ${token}`, "tus-resumable": "1.0.0" }
  const metadata = `filename ${Buffer.from("bench.bin").toString("base64")}`
  const begun = await send(`${fileUrl}/files`, "POST", null, {
    ...headers,
    "upload-length": String(bytes.length + 1),
    "upload-metadata": metadata
  })
  const url = new URL(begun, fileUrl).href
  await send(url, "PATCH", bytes, {
    ...headers,
    "content-type": "application/offset+octet-stream",
    "content-length": String(bytes.length),
    "upload-offset": "0"
  })
  uploadedBytes += bytes.length
  await send(url, "DELETE", null, headers)
}

const send = (url: string, method: string, body: Buffer | null, headers: Record<string, string>): Promise<string> =>
  new Promise((resolve, reject) => {
    const sent = request(url, { method, agent, headers }, (answer) => {
      answer.resume()
      const isWell = answer.statusCode !== undefined && answer.statusCode < 300
      answer.on("end", () =>
        isWell ? resolve(answer.headers.location ?? "") : reject(new Error(`answered ${answer.statusCode}`))
      )
    })
    sent.on("error", reject)
    sent.end(body ?? undefined)
  })

const download = ({ link }: FileOrder): Promise<void> =>
  new Promise((resolve, reject) => {
    const asked = get(link, { agent }, (answer) => {
      answer.on("data", (chunk: Buffer) => {
        downloadedBytes += chunk.length
        if (isOver) asked.destroy()
      })
      answer.on("close", () => (answer.statusCode === 200 ? resolve() : reject(new Error(`${answer.statusCode}`))))
    })
    asked.on("error", reject)
  })

const small = async ({ fileUrl, smallEveryMs, uploaders }: FileOrder): Promise<void> => {
  const bytes = Buffer.from(randomBytes(32_768).toString("hex"))
  await uploadOne({ url: fileUrl, token: uploaders[0], agent, name: "small.txt", type: "text/plain" }, bytes)
  completed++
  await pause(smallEveryMs)
}

const run = async (order: FileOrder): Promise<FileTraffic> => {
  await Promise.all([
    ...order.uploaders.map((token) => untilTold(() => uploadAlmost(order, token))),
    ...Array.from({ length: order.downloaders }, () => untilTold(() => download(order))),
    untilTold(() => small(order))
  ])
  return { uploadedBytes, downloadedBytes, completed }
}

// In a session of its own, so nobody else would end it.
process.on("disconnect", () => process.exit(1))
process.on("message", (message: FileOrder | "stop") => {
  if (message === "stop") {
    isOver = true
    return
  }
  run(message).then(
    (traffic) => process.send?.(traffic, () => process.exit(0)),
    (cause: unknown) => {
      console.error(cause)
      process.exit(1)
    }
  )
})
