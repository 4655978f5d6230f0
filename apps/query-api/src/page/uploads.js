// Uploads over tus by the plan of uploadPlan.js: each is driven step by step until it is attached, refused or given up. What is unfinished is
// remembered in the tab, so that it goes on when the same file is chosen again after a reload.
import { kept } from "/elements.js"
import { freshId } from "/ids.js"
import {
  afterAnswer,
  afterAttach,
  fingerprintOf,
  isUnfinished,
  keptUploads,
  newUpload,
  paused,
  resumed,
  stepOf,
  uploadsFrom,
  waits
} from "/uploadPlan.js"

const stallMs = 20_000

const tus = { "tus-resumable": "1.0.0" }

/** An entry: the upload, its file (null after a reload), how many bytes were sent, what is under way. */
export class Uploads {
  #desk
  #onChange
  #filesUrl
  #entries

  constructor({ desk, onChange }) {
    this.#desk = desk
    this.#onChange = onChange
    this.#filesUrl = `${desk.doors.fileUrl}/files/`
    const remembered = uploadsFrom(kept.read("uploads"))
    this.#entries = new Map(remembered.map((upload) => [upload.fingerprint, entryOf(upload, null)]))
    for (const entry of this.#entries.values()) this.#drive(entry)
  }

  list(ticketId) {
    return [...this.#entries.values()].filter(({ upload }) => upload.ticketId === ticketId)
  }

  /** Begins, or goes on where the same file was broken off. */
  add(file, ticketId, audience) {
    const fingerprint = fingerprintOf(file, ticketId)
    const former = this.#entries.get(fingerprint)
    if (former !== undefined && isUnfinished(former.upload)) {
      former.file = file
      return this.resume(former)
    }
    const entry = entryOf(newUpload(file, ticketId, freshId(), audience), file)
    this.#entries.set(fingerprint, entry)
    this.#change(entry, entry.upload)
    this.#drive(entry)
  }

  pause(entry) {
    this.#change(entry, paused(entry.upload))
    entry.stop?.abort()
  }

  resume(entry) {
    this.#change(entry, resumed(entry.upload))
    this.#drive(entry)
  }

  /** The desk is told as well as the line allows; it forgets what is unfinished after a day. */
  cancel(entry) {
    const { fingerprint, url } = entry.upload
    const isPartial = url !== null && entry.upload.doneBytes < entry.upload.sizeBytes
    this.pause(entry)
    this.#entries.delete(fingerprint)
    this.#change(entry, entry.upload)
    if (isPartial) fetch(url, { method: "DELETE", headers: this.#headers() }).catch(() => {})
  }

  /** The ticket shows it: it has its place there. */
  forget(fileId) {
    for (const { upload } of this.#entries.values()) {
      if (upload.phase === "attached" && fileIdOf(upload) === fileId) this.#entries.delete(upload.fingerprint)
    }
  }

  #headers() {
    return { authorization: this.#desk.headers.authorization, ...tus }
  }

  #change(entry, upload) {
    entry.upload = upload
    // What was under way may have got lost: only what the desk has said counts.
    entry.sentBytes = upload.doneBytes
    kept.write("uploads", keptUploads([...this.#entries.values()].map((one) => one.upload)))
    this.#onChange()
  }

  async #drive(entry) {
    if (entry.isDriven) return
    entry.isDriven = true
    for (let step = stepOf(entry.upload); step.do !== "nothing"; step = stepOf(entry.upload)) {
      await this.#take(entry, step)
    }
    entry.isDriven = false
    this.#comeBack(entry)
  }

  async #take(entry, step) {
    const stop = new AbortController()
    entry.stop = stop
    try {
      const answer = await this.#perform(entry, step)
      const after =
        step.do === "attach"
          ? afterAttach(entry.upload, answer)
          : afterAnswer(entry.upload, step, answer, this.#filesUrl)
      this.#change(entry, after)
    } catch (error) {
      if (!stop.signal.aborted) this.#change(entry, waits(entry.upload, error.message))
    }
  }

  #perform(entry, step) {
    const { upload } = entry
    if (step.do === "attach") return attach(this.#desk, upload)
    const headers = this.#headers()
    if (step.do === "create") return ask(entry, "POST", this.#filesUrl, { ...headers, ...described(upload) })
    if (step.do === "look") return ask(entry, "HEAD", step.url, headers)
    const patch = { "content-type": "application/offset+octet-stream", "upload-offset": String(step.from) }
    const onSent = (bytes) => {
      entry.sentBytes = step.from + bytes
      this.#onChange()
    }
    return ask(entry, "PATCH", step.url, { ...headers, ...patch }, entry.file.slice(step.from, step.to), onSent)
  }

  /** What passes is tried again by itself; what was paused is not. */
  #comeBack(entry) {
    const { phase, retryAfterMs } = entry.upload
    if (phase !== "waiting" && phase !== "away") return
    const again = () => {
      const isSame = entry.upload.phase === phase && this.#entries.get(entry.upload.fingerprint) === entry
      if (isSame) this.resume(entry)
    }
    setTimeout(again, retryAfterMs * (0.5 + Math.random() / 2))
  }
}

const entryOf = (upload, file) => ({ upload, file, sentBytes: upload.doneBytes, isDriven: false, stop: null })

const fileIdOf = ({ url }) => new URL(url).pathname.split("/").at(-1)

const attach = (desk, upload) =>
  desk.command(
    `/v1/tickets/${upload.ticketId}/files`,
    { fileId: fileIdOf(upload), name: upload.name, audience: upload.audience },
    upload.attachId
  )

const described = ({ name, sizeBytes, ticketId, type }) => ({
  "upload-length": String(sizeBytes),
  "upload-metadata": Object.entries({ filename: name, ...(type === "" ? {} : { filetype: type }), ticketId })
    .map(([key, value]) => `${key} ${btoa(String.fromCharCode(...new TextEncoder().encode(value)))}`)
    .join(",")
})

/** A request that tells how far it is, and that ends when nothing moves any more. */
const ask = ({ stop }, method, url, headers, body = null, onSent = () => {}) =>
  new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    let stall
    const alive = () => {
      clearTimeout(stall)
      stall = setTimeout(() => end(new Error("The line hangs.")), stallMs)
    }
    const end = (error) => {
      clearTimeout(stall)
      request.onloadend = null
      request.upload.onprogress = null
      request.abort()
      reject(error)
    }
    request.open(method, url)
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value)
    request.upload.onprogress = ({ loaded }) => {
      alive()
      onSent(loaded)
    }
    request.onloadend = () => {
      clearTimeout(stall)
      if (request.status === 0) reject(new Error("The line is cut, or the desk is away."))
      else resolve(answerOf(request))
    }
    stop.signal.addEventListener("abort", () => end(new Error("stopped")))
    alive()
    request.send(body)
  })

const answerOf = (request) => ({
  status: request.status,
  headers: {
    location: request.getResponseHeader("location"),
    offset: request.getResponseHeader("upload-offset"),
    retryAfter: request.getResponseHeader("retry-after")
  },
  title: titleOf(request)
})

const titleOf = ({ responseText, status }) => {
  try {
    return String(JSON.parse(responseText).title)
  } catch {
    return `The desk answered ${status}.`
  }
}
