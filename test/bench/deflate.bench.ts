// permessage-deflate: what it saves on the wire and what it costs the server, for what a gateway sends: one event to many sockets, and answers as
// large as snapshots are. A bare `ws` server sends, so nothing but compression differs; the clients live in another process.
import { randomUUID } from "node:crypto"
import type { PerMessageDeflateOptions } from "ws"
import { startClients } from "./FanoutClients.ts"
import { bareSubject, frameOf, gatewaySubject } from "./FanoutSubjects.ts"
import { isTiny, rounded, table, writeSection } from "./Report.ts"

const ways: ReadonlyArray<readonly [name: string, options: PerMessageDeflateOptions | false]> = [
  ["none", false],
  ["each message by itself", { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 }],
  ["with what came before", { threshold: 0 }]
]

/** What a person reads: no line like another, as many words as a message has. */
const words =
  "the printer on floor three is out of toner again please send somebody before noon thanks and regards".split(" ")
const prose = (length: number): string => {
  let text = ""
  while (text.length < length) text += `${words[Math.floor(Math.random() * words.length)]} `
  return text.slice(0, length)
}

const snapshot = (messages: number): Buffer =>
  Buffer.from(
    JSON.stringify({
      id: randomUUID(),
      type: "next",
      payload: {
        data: {
          ticket: {
            id: randomUUID(),
            subject: prose(60),
            conversation: {
              nodes: Array.from({ length: messages }, () => ({
                id: randomUUID(),
                author: { id: `agent-${Math.floor(Math.random() * 50)}`, name: prose(12) },
                audience: "public",
                at: new Date().toISOString(),
                body: prose(200 + Math.floor(Math.random() * 400))
              }))
            }
          }
        }
      }
    })
  )

interface Case {
  readonly name: string
  /** Another one each time, as a desk's are. */
  readonly frame: () => Buffer
  readonly sockets: number
  readonly messages: number
}

const measure = async ({ frame, messages, sockets }: Case, options: PerMessageDeflateOptions | false) => {
  const subject = await bareSubject(frame, options)
  const clients = await startClients(subject, sockets, { deflate: options !== false })
  await clients.timed(2)
  const [written, cpu] = [subject.written(), process.cpuUsage()]
  // One after the other, as events come: a queue would measure its own length.
  for (let message = 0; message < messages; message++) await clients.timed(1)
  const { system, user } = process.cpuUsage(cpu)
  const deliveries = sockets * messages
  const bytes = (subject.written() - written) / deliveries
  await clients.end()
  await subject.stop()
  return { bytes, cpuUs: (system + user) / deliveries }
}

const gateway = await gatewaySubject()
const sample = JSON.parse(String(await frameOf(gateway)))
await gateway.stop()
let position = 0
const event = (): Buffer => {
  const { payload } = sample
  position++
  const own = { position, streamVersion: position, eventId: randomUUID(), messageId: randomUUID(), body: prose(240) }
  const data = { ticketChanged: { ...payload.data.ticketChanged, ...own } }
  return Buffer.from(JSON.stringify({ ...sample, payload: { data, extensions: { feed: { position } } } }))
}
const scale = isTiny ? 0.1 : 1
const cases: ReadonlyArray<Case> = [
  { name: "an event", frame: event, sockets: 500 * scale, messages: 40 * scale },
  { name: "a conversation of 10 messages", frame: () => snapshot(10), sockets: 50 * scale, messages: 40 * scale },
  { name: "a conversation of 100 messages", frame: () => snapshot(100), sockets: 20 * scale, messages: 40 * scale }
]
const rows: Array<ReadonlyArray<string | number>> = []
for (const one of cases) {
  let plainBytes: number | null = null
  for (const [way, options] of ways) {
    const { bytes, cpuUs } = await measure(one, options)
    plainBytes ??= bytes
    const saved = Math.round((1 - bytes / plainBytes) * 100)
    rows.push([one.name, way, rounded(bytes), saved, rounded(cpuUs)])
  }
}
writeSection({
  name: "deflate",
  title: "Realtime: what compression saves and costs",
  body: `A bare \`ws\` server that sends to many sockets, without permessage-deflate, with each message compressed by itself, and with a
compressor per socket that remembers what came before. A gateway copies an event's shared bytes once per socket; compressed, each socket's
frame is made anew. Processor time is of the server's whole process, its compressing threads included. A compressor that remembers takes
some 256 KiB of each socket besides, by zlib's own account.

${table(["message", "compressed", "bytes on the wire", "saved (%)", "processor time for one (µs)"], rows)}`
})
