// One event to 1 000 and to 10 000 subscribers through the realtime gateway, against a bare `ws` server that sends the same bytes to as many
// sockets. Both serve from this process in turn, the clients live in another. Measured: the delay until a socket has one event, how many
// deliveries a second the server makes of many events, what one costs it, and what a socket takes of its memory.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { Session } from "node:inspector/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { bytesHeld, startClients, tooFewFiles } from "./FanoutClients.ts"
import { bareSubject, frameOf, gatewaySubject, type Subject } from "./FanoutSubjects.ts"
import { type Naming, profileParts } from "./Profile.ts"
import { type Bar, barsTable, isTiny, median, rounded, table, writeSection } from "./Report.ts"

interface Size {
  readonly sockets: number
  readonly rounds: number
  readonly burst: number
}

const sizes: ReadonlyArray<Size> = isTiny
  ? [
      { sockets: 20, rounds: 3, burst: 3 },
      { sockets: 300, rounds: 2, burst: 2 }
    ]
  : [
      { sockets: 1_000, rounds: 30, burst: 40 },
      { sockets: 10_000, rounds: 15, burst: 10 }
    ]
const runs = isTiny ? 1 : 3
const ratioMin = 0.8

interface Figures {
  /** Milliseconds until the last, half and 99 of 100 of the sockets have one event, median of the rounds. */
  readonly lastMs: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly deliveriesPerSecond: number
  /** Processor time of this process per delivery, in the burst. Microseconds. */
  readonly cpuUs: number
  /** Memory that this process holds for a socket. KiB. */
  readonly socketKiB: number
}

const measure = async (subject: Subject, { burst, rounds, sockets }: Size): Promise<Figures> => {
  const clients = await startClients(subject, sockets)
  await clients.timed(burst)
  const held = await bytesHeld()
  const single = []
  for (let round = 0; round < rounds; round++) single.push(await clients.timed(1))
  const cpu = process.cpuUsage()
  const many = await clients.timed(burst)
  const { system, user } = process.cpuUsage(cpu)
  await clients.end()
  // What goes with the sockets is what they took: what an earlier run has left would falsify a comparison with the time before them.
  const socketKiB = (held - (await bytesHeld())) / sockets / 1024
  const deliveries = burst * sockets
  return {
    lastMs: median(single.map(({ ms }) => ms)),
    p50Ms: median(single.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(single.map(({ p99Ms }) => p99Ms)),
    deliveriesPerSecond: Math.round((deliveries * 1000) / many.ms),
    cpuUs: (system + user) / deliveries,
    socketKiB
  }
}

const measured = async (subject: Subject, size: Size): Promise<Figures> => {
  try {
    return await measure(subject, size)
  } finally {
    await subject.stop()
  }
}

const naming: Naming = [
  ["Holdfast", /\/packages\//],
  ["ws", /\/ws\//],
  ["GraphQL", /\/graphql/],
  ["Effect", /\/effect\//],
  ["Node's own streams and sockets", /^node:/]
]

/** Where the gateway's time goes, in a run that is not counted. */
const profiled = async (size: Size): Promise<string> => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"))
  const session = new Session()
  session.connect()
  await session.post("Profiler.enable")
  await session.post("Profiler.start")
  await measured(await gatewaySubject(), size)
  const { profile } = await session.post("Profiler.stop")
  session.disconnect()
  writeFileSync(join(folder, "fanout.cpuprofile"), JSON.stringify(profile))
  const parts = profileParts(folder, naming)
  rmSync(folder, { recursive: true })
  return table(
    ["part", "share of the busy time (%)"],
    parts.map(({ name, share }) => [name, Math.round(share * 100)])
  )
}

interface Compared {
  readonly text: string
  readonly bar: Bar
}

const compare = async (frame: Buffer, size: Size): Promise<Compared> => {
  const gateway: Array<Figures> = []
  const bare: Array<Figures> = []
  for (let run = 0; run < runs; run++) {
    gateway.push(await measured(await gatewaySubject(), size))
    bare.push(await measured(await bareSubject(() => frame), size))
  }
  const of = (all: ReadonlyArray<Figures>, unit: keyof Figures) => median(all.map((one) => one[unit]))
  const figure = (name: string, unit: keyof Figures, isLessBetter = true) => {
    const [ours, theirs] = [of(gateway, unit), of(bare, unit)]
    return [name, rounded(ours), rounded(theirs), rounded(isLessBetter ? theirs / ours : ours / theirs)]
  }
  const { burst, rounds, sockets } = size
  const rows = [
    figure("one event, half of the sockets have it (ms)", "p50Ms"),
    figure("one event, 99 of 100 sockets have it (ms)", "p99Ms"),
    figure("one event, the last socket has it (ms)", "lastMs"),
    figure(`${burst} events in a row, deliveries a second`, "deliveriesPerSecond", false),
    figure("processor time of the server for one delivery (µs)", "cpuUs"),
    figure("memory of the server for a socket (KiB)", "socketKiB")
  ]
  const value = of(gateway, "deliveriesPerSecond") / of(bare, "deliveriesPerSecond")
  return {
    text: `To ${sockets} sockets, ${rounds} rounds of one event:\n\n${table(["", "gateway", "bare ws", "ratio"], rows)}`,
    bar: { what: `deliveries a second to ${sockets} sockets, of a bare broadcast`, value, atLeast: ratioMin }
  }
}

const first = await gatewaySubject()
const frame = await frameOf(first)
await first.stop()
const left: Array<string> = []
const compared: Array<Compared> = []
for (const size of sizes) {
  const refusal = tooFewFiles(size.sockets)
  if (refusal === null) compared.push(await compare(frame, size))
  else left.push(refusal)
}
for (const line of left) process.stdout.write(`${line}\n`)
const [profiledSize] = sizes
writeSection({
  name: "fanout",
  title: "Realtime: one event to 1 000 and to 10 000 sockets",
  body: `The gateway from the broker's event to the socket: permission check, selection of fields, encoding, and a frame per subscriber with
its own subscription id, for as many people with the same subscription. The ceiling is a bare \`ws\` server that sends the same ${frame.byteLength}
bytes from one buffer. The clients are in another process; gateway and bare server alternate, median of ${runs} runs. Memory is what
JavaScript, its buffers and libraries hold, without the kernel's buffers.

${barsTable(compared.map(({ bar }) => bar))}

${[...compared.map(({ text }) => text), ...left].join("\n\n")}

Where the time of the gateway's process goes, with connecting and subscribing of the fewer sockets:

${profiledSize === undefined ? "" : await profiled(profiledSize)}`
})
