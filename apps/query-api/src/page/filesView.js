// A ticket's files: those that hang on it, each on its way through the pipeline, and the uploads that are to join them.
import { at, el, setText, show, showList } from "/elements.js"
import { fileWords } from "/ticketState.js"
import { size } from "/words.js"

const downloadQuery = "query($id: ID!) { file(id: $id) { downloadUrl } }"

export const showFiles = (attachments, desk) => {
  showList(
    at("files"),
    attachments,
    ({ fileId }) => fileId,
    ({ fileId, name }) => fileItem(fileId, name, desk),
    updateFile
  )
  show(at("files"), attachments.length > 0)
}

const fileItem = (fileId, name, desk) => {
  const state = el("span", { className: "state" })
  const told = el("span", { className: "hint", role: "status" })
  const download = el("button", {
    type: "button",
    className: "quiet",
    textContent: "Download",
    aria: { label: `Download ${name}` }
  })
  download.addEventListener("click", async () => {
    setText(told, "")
    await openDownload(desk, fileId).catch(({ message }) => setText(told, `Cannot be downloaded just now: ${message}`))
  })
  return el("li", {}, el("span", { className: "name", textContent: name }), state, download, told)
}

/** Links are short-lived, so each is asked for when it is wanted. */
const openDownload = async (desk, fileId) => {
  const { data } = await desk.query(downloadQuery, { id: fileId })
  const url = data.file?.downloadUrl ?? null
  if (url === null) throw new Error("it is not released.")
  el("a", { href: url, target: "_blank", rel: "noopener" }).click()
}

const updateFile = (item, attachment) => {
  const [, state, download] = item.children
  const audience = attachment.audience === "internal" ? " · staff only" : ""
  setText(state, `${fileWords(attachment)}${audience}`)
  state.dataset.state = attachment.withdrawn === null ? (attachment.file?.state ?? "received") : "withdrawn"
  show(download, state.dataset.state === "released")
}

export const showUploads = (entries, uploads) =>
  showList(
    at("uploads"),
    entries,
    ({ upload }) => upload.fingerprint,
    (entry) => uploadItem(entry, uploads),
    updateUpload
  )

const uploadItem = (entry, uploads) => {
  const { name } = entry.upload
  const button = (word, act) => {
    const made = el("button", {
      type: "button",
      className: "quiet",
      textContent: word,
      aria: { label: `${word} ${name}` }
    })
    made.addEventListener("click", () => act(entry))
    return made
  }
  return el(
    "li",
    {},
    el("span", { className: "name", textContent: name }),
    el("progress", { max: Math.max(1, entry.upload.sizeBytes), aria: { label: `Upload of ${name}` } }),
    el("span", { className: "state", role: "status" }),
    button("Pause", (one) => uploads.pause(one)),
    button("Resume", (one) => uploads.resume(one)),
    button("Cancel", (one) => uploads.cancel(one))
  )
}

const updateUpload = (item, entry) => {
  const [, progress, state, pause, resume, cancel] = item.children
  const { phase } = entry.upload
  const isWhole = phase === "uploaded" || phase === "attached" || phase === "away"
  progress.value = isWhole ? progress.max : entry.sentBytes
  state.dataset.phase = phase
  setText(state, uploadWords(entry))
  const isGoing = phase === "sending" || phase === "waiting"
  const hadFocus = [pause, resume].includes(document.activeElement)
  show(pause, isGoing)
  show(resume, phase === "paused" && entry.file !== null)
  show(cancel, phase !== "attached" && (phase !== "uploaded" || entry.upload.sentence !== ""))
  // What was pressed is gone; its counterpart stands in its place.
  if (hadFocus && document.activeElement?.hidden !== false) [pause, resume, cancel].find((one) => !one.hidden)?.focus()
}

/** Tenths only: a live region that counts every percent would talk all the time. */
const uploadWords = ({ file, sentBytes, upload }) => {
  const { phase, sentence, sizeBytes } = upload
  const tenths = sizeBytes === 0 ? 100 : Math.floor((sentBytes / sizeBytes) * 10) * 10
  switch (phase) {
    case "sending":
      return `${tenths} % of ${size(sizeBytes)}`
    case "paused":
      return file === null
        ? `Broken off at ${tenths} %. Choose the same file again to go on.`
        : `Paused at ${tenths} % of ${size(sizeBytes)}`
    case "waiting":
      return `Waiting at ${tenths} %. ${sentence} It goes on by itself.`
    case "uploaded":
    case "away":
      // What is tried again and again says the same all the while.
      if (sentence === "") return "All of it is there; being attached"
      return `All of it is safe at the desk. Not attached yet: ${sentence} It is attached when the desk can write again.`
    case "attached":
      return "Attached"
    default:
      return `Refused. ${sentence}`
  }
}
