// A bad line between this machine and a network namespace of its own: delay, jitter, loss, bursts, duplicates, overtaking, damage, a rate, and
// cuts, all at run time and from one seed. This kernel knows no netem: a TUN device at each end and a relay between them do it
// (`LinkRelay.ts`), so real TCP of the kernel meets it. The near end is here; at the far end either a client is
// started, or a server of this machine is published and reached from here. Needs Linux and root. Everything is gone with the scope, and
// what a crashed run left is cleared by the next link.
import { type ChildProcess, type ChildProcessWithoutNullStreams, type SpawnOptions, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { Effect, Ref, type Scope, Semaphore } from "effect"
import type { FaultTarget } from "./Faults.ts"
import { openDoor } from "./LinkDoor.ts"
import { type LinkCounts, type LinkDirection, type LinkProfile, perfect } from "./LinkModel.ts"
import type { LinkAnswer, LinkOrder } from "./LinkRelay.ts"
import { administratorsPath, isAbandoned, MeansMissing, ownedName, requireRoot, runProgram } from "./Means.ts"

export type { LinkCounts, LinkDirection, LinkProfile } from "./LinkModel.ts"

export interface LinkOptions {
  readonly seed: number
  /** Differences from a perfect line, in both directions. */
  readonly profile?: Partial<LinkProfile>
}

export interface Link {
  /** Where the far end finds a server that listens here, on all addresses or on this one. */
  readonly nearAddress: string
  readonly farAddress: string
  /** A program at the far end; ended with the scope. Its network is this line and nothing else. */
  spawnInside(
    program: string,
    args: ReadonlyArray<string>,
    options?: SpawnOptions
  ): Effect.Effect<ChildProcess, never, Scope.Scope>
  /** Puts a server of this machine at the far end as well: connect to the target that is given back, and the line is in between. */
  publish(target: FaultTarget): Effect.Effect<FaultTarget, never, Scope.Scope>
  /** Differences from what holds now, for one direction or both. */
  set(profile: Partial<LinkProfile>, direction?: LinkDirection): Effect.Effect<void>
  /** Nothing arrives any more, in either direction, and nobody is told. */
  readonly cut: Effect.Effect<void>
  readonly heal: Effect.Effect<void>
  /** Since the beginning. */
  readonly statistics: Effect.Effect<Readonly<Record<LinkDirection, LinkCounts>>>
}

const means = "A bad line"
const slotsMax = 16_384
const slotAttemptsMax = 64
const directions: ReadonlyArray<LinkDirection> = ["inward", "outward"]

export const makeLink = (options: LinkOptions): Effect.Effect<Link, MeansMissing, Scope.Scope> =>
  Effect.gen(function* () {
    yield* requireRoot(means)
    yield* clearAbandoned
    const ends = yield* openEnds(options.seed)
    yield* configure(ends)
    yield* ends.relay.ask({ _tag: "Start" })
    const link = yield* linkOf(ends)
    yield* link.set(options.profile ?? {})
    return link
  })

interface Ends {
  readonly namespace: string
  readonly device: string
  readonly nearAddress: string
  readonly farAddress: string
  readonly relay: Relay
}

const linkOf = Effect.fnUntraced(function* ({ farAddress, namespace, relay, nearAddress }: Ends) {
  const profiles = yield* Ref.make<Readonly<Record<LinkDirection, LinkProfile>>>({ inward: perfect, outward: perfect })
  const set = Effect.fnUntraced(function* (differences: Partial<LinkProfile>, direction?: LinkDirection) {
    for (const one of direction === undefined ? directions : [direction]) {
      const now = yield* Ref.updateAndGet(profiles, (all) => ({ ...all, [one]: { ...all[one], ...differences } }))
      yield* relay.ask({ _tag: "Set", profile: now[one], directions: [one] })
    }
  })
  const link: Link = {
    nearAddress,
    farAddress,
    spawnInside: (program, args, options) => spawnInside(namespace, program, args, options),
    publish: (target) => publish(relay, farAddress, target),
    set,
    cut: Effect.asVoid(relay.ask({ _tag: "Cut", isCut: true })),
    heal: Effect.asVoid(relay.ask({ _tag: "Cut", isCut: false })),
    statistics: Effect.flatMap(relay.ask({ _tag: "Count" }), (answer) =>
      answer._tag === "Counts" ? Effect.succeed(answer.counts) : Effect.die(new Error("the relay did not count"))
    )
  }
  return link
})

/** The device's name is the lock: the kernel gives each to one process. */
const openEnds = Effect.fnUntraced(function* (seed: number) {
  const namespace = yield* addNamespace
  const anySlot = Math.floor(Math.random() * slotsMax)
  for (let attempt = 0; attempt < slotAttemptsMax; attempt++) {
    const slot = (anySlot + attempt) % slotsMax
    const device = `holdfast${slot}`
    const relay = yield* startRelay(namespace, device, seed)
    if (relay === null) continue
    const [network, first] = [`10.213.${slot >> 6}`, (slot & 63) * 4]
    const addresses = { nearAddress: `${network}.${first + 1}`, farAddress: `${network}.${first + 2}` }
    return { ...addresses, namespace, device, relay }
  }
  return yield* new MeansMissing({ message: `${means} found no free device in ${slotAttemptsMax} attempts.` })
})

const addNamespace = Effect.gen(function* () {
  const name = yield* ownedName
  return yield* Effect.acquireRelease(Effect.as(ip(["netns", "add", name]), name), () => removeNamespace(name))
})

const ip = (args: ReadonlyArray<string>) => runProgram(means, "ip", args)

/** Whoever is still inside would keep it. */
const removeNamespace = (name: string) =>
  Effect.gen(function* () {
    const inside = yield* ip(["netns", "pids", name])
    for (const pid of inside.split("\n").filter((line) => line !== "")) endProcess(Number(pid))
    yield* ip(["netns", "delete", name])
  }).pipe(Effect.orDie)

const endProcess = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL")
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "ESRCH")) throw cause
  }
}

const clearAbandoned = Effect.gen(function* () {
  const names = yield* Effect.promise(() => readdir("/var/run/netns").catch(() => []))
  for (const name of names) {
    // Somebody else may be clearing the same.
    if (yield* isAbandoned(name)) yield* Effect.ignore(Effect.exit(removeNamespace(name)))
  }
})

// Node cannot make the ioctl that names a TUN device; Perl, which every Debian has, opens it and becomes the next program with it. Flags:
// TUN, no packet information, and fail where the name is taken.
const opener = `
$^F = 1000;
sysopen(my $device, "/dev/net/tun", 2) or die "cannot open /dev/net/tun: $!\\n";
my $request = pack("a16 S x22", shift, 0x0001 | 0x1000 | 0x8000);
ioctl($device, 0x400454ca, $request) or exit($!{EBUSY} ? 75 : die "cannot make a TUN device: $!\\n");
$ENV{HOLDFAST_LINK_DEVICES} = join(",", grep { defined } $ENV{HOLDFAST_LINK_DEVICES}, fileno($device));
exec @ARGV or die "cannot start $ARGV[0]: $!\\n";
`
const busy = 75
const farDevice = "line"
const relayProgram = join(import.meta.dirname, "LinkRelay.ts")

/** Null when the device's name is taken. */
const startRelay = (namespace: string, device: string, seed: number) =>
  Effect.gen(function* () {
    const inside = ["ip", "netns", "exec", namespace, "perl", "-MErrno", "-e", opener, farDevice]
    const args = ["-MErrno", "-e", opener, device, ...inside, process.execPath, relayProgram, String(seed)]
    const relay = yield* Effect.acquireRelease(
      Effect.sync(() => new Relay(spawn("perl", args, { env: { ...process.env, PATH: administratorsPath } }))),
      (started) => Effect.promise(() => started.end())
    )
    const exitCode = yield* Effect.promise(() => relay.startedOrExitCode())
    if (exitCode === null || exitCode === busy) return exitCode === null ? relay : null
    return yield* new MeansMissing({ message: `${means} needs a TUN device at each end: ${relay.complaint()}.` })
  })

/** Orders to the relay, one at a time. */
class Relay {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  readonly #turn = Semaphore.makeUnsafe(1)
  #complaint = ""

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    child.stderr.on("data", (chunk) => {
      this.#complaint += String(chunk)
    })
    // Told by its exit code, and by the order that finds nobody.
    child.stdin.on("error", () => {})
  }

  complaint(): string {
    return this.#complaint.trim()
  }

  async startedOrExitCode(): Promise<number | null> {
    const { done } = await this.#lines.next()
    if (done !== true) return null
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit")
    return this.#child.exitCode ?? -1
  }

  ask(order: LinkOrder): Effect.Effect<LinkAnswer> {
    return this.#turn.withPermits(1)(
      Effect.promise(async (): Promise<LinkAnswer> => {
        this.#child.stdin.write(`${JSON.stringify(order)}\n`)
        const { done, value } = await this.#lines.next()
        if (done === true) throw new Error(`the relay of the line ended: ${this.complaint()}`)
        return JSON.parse(value)
      })
    )
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill("SIGKILL")
    await once(this.#child, "exit")
  }
}

const configure = Effect.fnUntraced(function* ({ farAddress, device, namespace, nearAddress }: Ends) {
  yield* ip(["address", "add", `${nearAddress}/30`, "dev", device])
  yield* ip(["link", "set", device, "up"])
  yield* ip(["-netns", namespace, "link", "set", "lo", "up"])
  yield* ip(["-netns", namespace, "address", "add", `${farAddress}/30`, "dev", farDevice])
  yield* ip(["-netns", namespace, "link", "set", farDevice, "up"])
})

const spawnInside = (
  namespace: string,
  program: string,
  args: ReadonlyArray<string>,
  options: SpawnOptions = {}
): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const env = { ...(options.env ?? process.env) }
      const all = ["netns", "exec", namespace, "setpriv", "--pdeathsig", "KILL", "--", program, ...args]
      return spawn("ip", all, { ...options, env: { ...env, PATH: env.PATH ?? administratorsPath } })
    }),
    (child) =>
      Effect.promise(async () => {
        if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
        child.kill("SIGKILL")
        await once(child, "exit")
      })
  )

/** A Unix socket is a file, and files are the same in every network namespace: it leads from the far end back to this one. */
const publish = (relay: Relay, farAddress: string, target: FaultTarget) =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-link-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
    )
    const socketPath = join(folder, "socket")
    yield* Effect.acquireRelease(
      Effect.promise(() => openDoor({ path: socketPath }, target)),
      (door) => Effect.promise(() => door.close())
    )
    const answer = yield* relay.ask({ _tag: "Door", address: farAddress, socketPath })
    if (answer._tag !== "Door") return yield* Effect.die(new Error("the relay opened no door"))
    return { host: farAddress, port: answer.port }
  })
