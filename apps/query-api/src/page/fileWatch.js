// Follows the files of the open ticket that are still on their way through the pipeline, each from where it is known to be.
import { isUnderWay } from "/ticketState.js"

const filesFollowedMax = 32

const fileQuery = "query($id: ID!) { file(id: $id) { id state rejection { reason detail } } }"
const progressQuery = `subscription($id: ID!, $after: Position) {
  fileProgress(id: $id, after: $after) { position type fileId state stage reason detail }
}`

export class FileWatch {
  #options
  #following = new Map()

  /** `onFile` hears each change of a file. */
  constructor(options) {
    this.#options = options
  }

  /** Follows who is under way, and nobody else. @param {import("./ticketState.js").Ticket} ticket */
  follow({ attachments, position }) {
    const underWay = new Map(attachments.filter(isUnderWay).map((one) => [one.fileId, one]))
    for (const fileId of this.#following.keys()) if (!underWay.has(fileId)) this.#end(fileId)
    for (const [fileId, { file }] of underWay) {
      if (this.#following.has(fileId) || this.#following.size >= filesFollowedMax) continue
      this.#begin(fileId, file === null ? null : position)
    }
  }

  stop() {
    for (const fileId of this.#following.keys()) this.#end(fileId)
  }

  #end(fileId) {
    this.#following.get(fileId)?.abort()
    this.#following.delete(fileId)
  }

  /** The change that attaches a file does not tell how far the file is: then it is read first. */
  async #begin(fileId, position) {
    const ended = new AbortController()
    this.#following.set(fileId, ended)
    const read = () => this.#read(fileId, ended.signal)
    const after = position ?? (await read().catch(() => 0))
    if (ended.signal.aborted) return
    const stop = this.#options.feed.watch({
      query: progressQuery,
      variables: { id: fileId },
      position: after,
      onChange: ({ fileProgress }) => this.#options.onFile(fileProgress),
      onResync: read,
      onRefused: () => {}
    })
    ended.signal.addEventListener("abort", stop)
  }

  async #read(fileId, signal) {
    const { data, freshness } = await this.#options.desk.query(fileQuery, { id: fileId })
    if (!signal.aborted && data.file !== null) {
      const { rejection, state } = data.file
      this.#options.onFile({ fileId, state, reason: rejection?.reason ?? null, detail: rejection?.detail ?? null })
    }
    return freshness.position ?? 0
  }
}
