// A program that keeps notes in a file outbox for as long as it lives, and says of each that it is kept. With `drain` it only sends what it
// finds and ends when nothing is left.
import { createClient } from "@holdfast/client"
import { openOutbox } from "@holdfast/client/Outbox"
import { fileStore } from "@holdfast/client/StoreFile"

const [mode = "", folder = "", url = "", token = "", ticketId = "", name = ""] = process.argv.slice(2)

const client = createClient({ urls: url, token: () => token })
const opened = await openOutbox(client, fileStore(folder))
if (opened.status !== "opened") throw opened.error
const { outbox } = opened

if (mode === "drain") {
  const whenSent = () => {
    if (outbox.waiting.length > 0) return
    process.stdout.write("drained\n")
    void outbox.close()
  }
  outbox.subscribe(whenSent)
  whenSent()
} else {
  for (let count = 0; ; count++) {
    const kept = await outbox.commands.AddNote({ ticketId, body: `${name} ${count}` })
    if (kept.status === "kept") process.stdout.write(`${kept.commandId}\n`)
    // Slower than the desk sends, or the outbox would only fill.
    if (kept.status === "kept" && count % 4 === 3) await kept.outcome
  }
}
