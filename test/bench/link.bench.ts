// An upload by our client over a line of 10 Mbit/s with a round trip of 150 ms and one packet in a hundred lost, real TCP of the kernel over a real
// network device, against the line itself and against a plain stream over the same line. Then the same with cuts: what is sent again.
// Needs Linux and root, as the line does.
import { randomBytes } from "node:crypto"
import { Agent } from "node:http"
import { createClient } from "@holdfast/client"
import { faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { makeLink } from "@holdfast/testkit/Link"
import { Effect } from "effect"
import { barsTable, isTiny, median, rounded, writeSection } from "./Report.ts"
import { startGateway, startPlain, uploadOne } from "./UploadServers.ts"

const bitsPerSecond = 10_000_000
const line = { delayMs: 75, loss: 0.01, bitsPerSecond, queueBytesMax: 256 * 1024 }
const sizeMebibytes = isTiny ? 1 : 24
const rounds = isTiny ? 1 : 3
const cuts = isTiny ? 1 : 5
const content = randomBytes(sizeMebibytes << 20)
/** What a chunk of our client aims at: two seconds of the line. */
const chunkBytes = (bitsPerSecond / 8) * 2

const shareOfLine = (seconds: number): number => (content.length * 8) / seconds / bitsPerSecond

const timed = (work: () => Promise<unknown>) =>
  Effect.promise(async () => {
    const beganAt = performance.now()
    await work()
    return (performance.now() - beganAt) / 1000
  })

const server = <A extends { readonly stop: () => Promise<void> }>(start: () => Promise<A>) =>
  Effect.acquireRelease(Effect.promise(start), (running) => Effect.promise(() => running.stop()))

const program = Effect.gen(function* () {
  const plain = yield* server(startPlain)
  const gateway = yield* server(() => startGateway(1))
  const link = yield* makeLink({ seed: 4, profile: line })
  const farPlain = yield* link.publish(targetOf(plain.url))
  const farGateway = yield* link.publish(targetOf(gateway.url))
  // Cuts a connection as a modem does that dials anew.
  const modem = yield* faultProxy(farGateway)
  const url = `http://${farPlain.host}:${farPlain.port}`
  const files = modem.through(gateway.url)
  const nowhere = "http://127.0.0.1:9"
  const client = createClient({
    urls: { commands: nowhere, queries: nowhere, realtime: "ws://127.0.0.1:9/graphql", files },
    token: () => gateway.tokens[0] ?? ""
  })
  const uploadWhole = async () => {
    const upload = client.upload(content, { name: "bench.bin" })
    const { status } = await upload.outcome
    if (status !== "uploaded") throw new Error(`the upload was ${status}`)
    return upload.progress
  }
  const [raw, ours]: [Array<number>, Array<number>] = [[], []]
  for (let round = 0; round < rounds; round++) {
    const agent = new Agent({ keepAlive: true })
    raw.push(shareOfLine(yield* timed(() => uploadOne({ url, token: undefined, agent }, content))))
    agent.destroy()
    ours.push(shareOfLine(yield* timed(uploadWhole)))
    process.stdout.write(`plain ${rounded(raw.at(-1) ?? 0)} of the line, ours ${rounded(ours.at(-1) ?? 0)}\n`)
  }
  const cutting = Effect.gen(function* () {
    yield* Effect.sleep(((content.length * 8) / bitsPerSecond / (cuts + 1)) * 1000)
    yield* modem.set({ _tag: "Reset" })
    yield* link.cut
    yield* Effect.sleep(500)
    yield* link.heal
    yield* modem.set({ _tag: "Pass" })
  }).pipe(Effect.repeat({ times: cuts - 1 }))
  const [progress] = yield* Effect.all([Effect.promise(uploadWhole), cutting], { concurrency: 2 })
  client.close()
  return { raw: median(raw), ours: median(ours), progress }
}).pipe(Effect.scoped)

const { ours, progress, raw } = await Effect.runPromise(program)
writeSection({
  name: "link",
  title: "Upload over a bad line",
  body: `${sizeMebibytes} MiB by our client over 10 Mbit/s, 75 ms each way and 1 % loss in each direction, as shares of those 10 Mbit/s; median of ${rounds}, a plain stream into a file over the same
line in turn. Then one with ${cuts} cuts of half a second, connections reset.

${barsTable([
  { what: "our upload, of the line", value: ours, atLeast: 0.75 },
  { what: "a plain stream, of the line", value: raw },
  {
    what: "sent again after a cut, of a chunk (two seconds of the line)",
    value: progress.resentBytes / Math.max(1, progress.cuts) / chunkBytes,
    atMost: 1
  }
])}

Cut ${progress.cuts} times, ${rounded(progress.resentBytes / 1024)} KiB of ${sizeMebibytes} MiB were sent again. What a broken request brought is kept, so what is sent again is what was on its way.`
})
process.exit(0)
