// The process between the two ends of a bad line: reads packets from one TUN device, asks the model what becomes of each, and writes them
// to the other when they arrive. It is started by `Link.ts` with both devices already open, inside the far end's namespace. Orders come as
// JSON lines on stdin, each answered by one line on stdout; it ends with stdin, and the devices end with it.
import { read, writeSync } from "node:fs"
import { createInterface } from "node:readline"
import { openDoor } from "./LinkDoor.ts"
import { type LinkCounts, type LinkDirection, LinkModel, type LinkProfile } from "./LinkModel.ts"

export type LinkOrder =
  /** Both devices are up. */
  | { readonly _tag: "Start" }
  | { readonly _tag: "Set"; readonly profile: LinkProfile; readonly directions: ReadonlyArray<LinkDirection> }
  | { readonly _tag: "Cut"; readonly isCut: boolean }
  | { readonly _tag: "Count" }
  | { readonly _tag: "Door"; readonly address: string; readonly socketPath: string }

export type LinkAnswer =
  | { readonly _tag: "Done" }
  | { readonly _tag: "Counts"; readonly counts: Readonly<Record<LinkDirection, LinkCounts>> }
  | { readonly _tag: "Door"; readonly port: number }

const packetBytesMax = 2048
const inFlightPacketsMax = 50_000

interface InFlight {
  readonly atMs: number
  readonly packet: Buffer
}

/** Carries packets from one device to the other, in the order of their arrival. */
class Lane {
  readonly model: LinkModel
  readonly #from: number
  readonly #to: number
  readonly #inFlight: Array<InFlight> = []
  #timer: NodeJS.Timeout | null = null

  constructor(model: LinkModel, from: number, to: number) {
    this.model = model
    this.#from = from
    this.#to = to
  }

  start(): void {
    const buffer = Buffer.allocUnsafe(packetBytesMax)
    const next = () =>
      read(this.#from, buffer, 0, packetBytesMax, null, (error, length) => {
        // A device without an address yet has nothing to read.
        if (error !== null) throw error
        if (isIpv4(buffer)) this.#offer(buffer.subarray(0, length))
        next()
      })
    next()
  }

  /** A line that is cut loses what is on it. */
  cut(isCut: boolean): void {
    this.model.isCut = isCut
    if (isCut) this.#inFlight.length = 0
  }

  #offer(bytes: Buffer): void {
    if (this.#inFlight.length >= inFlightPacketsMax) return
    for (const { atMs, turnedBit } of this.model.offer(bytes.length, performance.now())) {
      this.#insert({ atMs, packet: turned(bytes, turnedBit) })
    }
    this.#deliverDue()
  }

  /** Nearly always at the end. */
  #insert(one: InFlight): void {
    let index = this.#inFlight.length
    while (index > 0 && (this.#inFlight[index - 1]?.atMs ?? 0) > one.atMs) index--
    this.#inFlight.splice(index, 0, one)
  }

  #deliverDue(): void {
    const nowMs = performance.now()
    for (let first = this.#inFlight[0]; first !== undefined && first.atMs <= nowMs; first = this.#inFlight[0]) {
      this.#inFlight.shift()
      write(this.#to, first.packet)
    }
    const first = this.#inFlight[0]
    if (this.#timer !== null || first === undefined) return
    this.#timer = setTimeout(
      () => {
        this.#timer = null
        this.#deliverDue()
      },
      Math.max(1, first.atMs - nowMs)
    )
  }
}

/** The kernel also sends IPv6 of its own accord; nobody here speaks it. */
const isIpv4 = (packet: Buffer): boolean => (packet[0] ?? 0) >> 4 === 4

const turned = (bytes: Buffer, bit: number | null): Buffer => {
  const packet = Buffer.from(bytes)
  if (bit === null) return packet
  const index = bit >> 3
  packet[index] = (packet[index] ?? 0) ^ (1 << (bit & 7))
  return packet
}

/** The receiving kernel refuses what is too damaged to be a packet: that is what happens to it on a real line. */
const write = (device: number, packet: Buffer): void => {
  try {
    writeSync(device, packet)
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EINVAL")) throw error
  }
}

const obey = async (lanes: Readonly<Record<LinkDirection, Lane>>, order: LinkOrder): Promise<LinkAnswer> => {
  switch (order._tag) {
    case "Start":
      for (const lane of [lanes.inward, lanes.outward]) lane.start()
      return { _tag: "Done" }
    case "Set":
      for (const direction of order.directions) lanes[direction].model.profile = order.profile
      return { _tag: "Done" }
    case "Cut":
      for (const lane of [lanes.inward, lanes.outward]) lane.cut(order.isCut)
      return { _tag: "Done" }
    case "Count":
      return {
        _tag: "Counts",
        counts: { inward: lanes.inward.model.counts, outward: lanes.outward.model.counts }
      }
    case "Door": {
      const { port } = await openDoor({ host: order.address, port: 0 }, { path: order.socketPath })
      return { _tag: "Door", port }
    }
  }
}

const main = async (): Promise<void> => {
  const [near = Number.NaN, far = Number.NaN] = (process.env.HOLDFAST_LINK_DEVICES ?? "").split(",").map(Number)
  const seed = Number(process.argv[2])
  const lanes = {
    inward: new Lane(new LinkModel(seed), far, near),
    outward: new Lane(new LinkModel(seed + 1), near, far)
  }
  process.stdout.write('{"_tag":"Done"}\n')
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await obey(lanes, JSON.parse(line)))}\n`)
  }
  // Its reads never end, so neither would an orderly exit.
  process.kill(process.pid, "SIGKILL")
}

await main()
