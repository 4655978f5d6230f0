// @ts-check
// What an upload does next, after tus 1.0: create it, look how much the desk has, send from there, then attach it by a command. Pure. Only
// the desk's word counts for where to go on, so after anything that broke it is asked again.

export const chunkBytes = 4 * 1024 * 1024

/**
 * `offset`: what the desk is known to have; null when it must be asked. `doneBytes`: what it had at last. `url`: where it was begun. sending: under way. waiting: something passes.
 * uploaded: all bytes are there. attached: done.
 * @typedef {{ fingerprint: string, name: string, type: string, sizeBytes: number, ticketId: string, audience: string, url: string | null, offset: number | null, doneBytes: number,
 *   phase: "sending" | "paused" | "waiting" | "uploaded" | "attached" | "refused" | "away", attachId: string, failures: number, sentence: string,
 *   retryAfterMs: number }} Upload
 * @typedef {{ do: "create" } | { do: "look", url: string } | { do: "send", url: string, from: number, to: number } | { do: "attach" } | { do: "nothing" }} Step
 * @typedef {{ status: number, headers: { location?: string | null, offset?: string | null, retryAfter?: string | null }, title: string }} Answer
 */

/** The same file chosen again is the same upload. @param {{ name: string, size: number, lastModified: number }} file @param {string} ticketId */
export const fingerprintOf = ({ lastModified, name, size }, ticketId) => `${ticketId}/${name}/${size}/${lastModified}`

/** @param {{ name: string, type: string, size: number, lastModified: number }} file @param {string} ticketId @param {string} attachId @param {string} audience @returns {Upload} */
export const newUpload = (file, ticketId, attachId, audience) => ({
  fingerprint: fingerprintOf(file, ticketId),
  name: file.name,
  type: file.type,
  sizeBytes: file.size,
  ticketId,
  audience,
  url: null,
  offset: null,
  doneBytes: 0,
  phase: "sending",
  attachId,
  failures: 0,
  sentence: "",
  retryAfterMs: 0
})

/** @param {Upload} upload @returns {Step} */
export const stepOf = ({ offset, phase, sizeBytes, url }) => {
  if (phase === "uploaded") return { do: "attach" }
  if (phase !== "sending") return { do: "nothing" }
  if (url === null) return { do: "create" }
  if (offset === null) return { do: "look", url }
  return { do: "send", url, from: offset, to: Math.min(sizeBytes, offset + chunkBytes) }
}

/** @param {Upload} upload @param {Step} step @param {Answer} answer @param {string} baseUrl @returns {Upload} */
export const afterAnswer = (upload, step, answer, baseUrl) => {
  const { headers, status } = answer
  const offset = headers.offset === undefined || headers.offset === null ? null : Number(headers.offset)
  if (step.do === "create" && status === 201 && headers.location) {
    return { ...went(upload, 0), url: new URL(headers.location, baseUrl).href }
  }
  if (step.do === "look" && status === 200 && offset !== null) return went(upload, offset)
  if (step.do === "send" && status === 204 && offset !== null) return went(upload, offset)
  // Somebody else moved it, or it holds other bytes than we thought.
  if (status === 409) return { ...upload, offset: null, failures: upload.failures + 1 }
  // It is not there any more: the desk keeps what is unfinished for a day.
  if ((status === 404 || status === 410) && upload.url !== null) return { ...upload, url: null, offset: null }
  if (isFinal(status)) return { ...upload, phase: "refused", sentence: answer.title }
  return waits(upload, answer.title, headers.retryAfter)
}

/** @param {Upload} upload @param {number} offset @returns {Upload} */
const went = (upload, offset) => ({
  ...upload,
  offset,
  doneBytes: offset,
  failures: 0,
  sentence: "",
  phase: offset >= upload.sizeBytes ? "uploaded" : upload.phase
})

/** @param {number} status */
const isFinal = (status) => [400, 401, 403, 404, 405, 410, 412, 413, 415, 501].includes(status)

/** Something broke that passes. @param {Upload} upload @param {string} sentence @param {string | null | undefined} retryAfter @returns {Upload} */
export const waits = (upload, sentence, retryAfter = null) => {
  const failures = upload.failures + 1
  const backoffMs = Math.min(10_000, 500 * 2 ** Math.min(failures, 6))
  const retryAfterMs = Math.max(backoffMs, Math.min(60_000, Number(retryAfter ?? 0) * 1000))
  const phase = upload.phase === "sending" ? "waiting" : upload.phase
  return { ...upload, phase, offset: null, failures, sentence, retryAfterMs }
}

/** @param {Upload} upload @returns {Upload} */
export const paused = (upload) =>
  upload.phase === "sending" || upload.phase === "waiting" ? { ...upload, phase: "paused", offset: null } : upload

/** What was broken off asks where it is; what is only to be attached goes on with that. @param {Upload} upload @returns {Upload} */
export const resumed = (upload) => (upload.phase === "away" ? { ...upload, phase: "uploaded" } : goesOn(upload))

/** @param {Upload} upload @returns {Upload} */
const goesOn = (upload) =>
  upload.phase === "paused" || upload.phase === "waiting" ? { ...upload, phase: "sending", offset: null } : upload

/**
 * @param {Upload} upload @param {{ kind: string, sentence?: string, retryAfterMs?: number }} outcome of the command that attaches it
 * @returns {Upload}
 */
export const afterAttach = (upload, outcome) => {
  if (outcome.kind === "accepted") return { ...upload, phase: "attached", sentence: "" }
  const sentence = outcome.sentence ?? ""
  if (outcome.kind === "refused") return { ...upload, phase: "refused", sentence }
  const failures = upload.failures + 1
  const retryAfterMs = Math.max(outcome.retryAfterMs ?? 0, Math.min(10_000, 500 * 2 ** Math.min(failures, 6)))
  return { ...upload, phase: "away", sentence, failures, retryAfterMs }
}

/** @param {Upload} upload */
export const isUnfinished = ({ phase }) => phase !== "attached" && phase !== "refused"

/** What is kept in the tab, so that choosing the file again goes on. @param {ReadonlyArray<Upload>} uploads */
export const keptUploads = (uploads) => JSON.stringify(uploads.filter(isUnfinished))

/** @param {string | null} kept @returns {ReadonlyArray<Upload>} */
export const uploadsFrom = (kept) => {
  try {
    const read = JSON.parse(kept ?? "[]")
    if (!Array.isArray(read)) return []
    // All bytes are there: what is left needs no file.
    return read.map((one) => ({
      ...one,
      phase: one.phase === "away" || one.phase === "uploaded" ? "uploaded" : "paused"
    }))
  } catch {
    return []
  }
}
