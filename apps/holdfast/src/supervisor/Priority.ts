// Which processes stand behind the others when the machine is busy: those that carry files, so that nobody who reads a ticket notices the
// traffic. They are asked for what the system offers and go on without what it does not: `chrt` (no waking up in front of others), `nice`
// (a smaller share of the processors) and `ionice` (a smaller one of the disk, where its scheduler looks at that).
// Nobody starves: looking into a file has a deadline by the clock, and a file must not be refused because the machine was busy. So not the
// scheduling class `idle`, and not the highest niceness.
import { execFile } from "node:child_process"
import { writeFile } from "node:fs/promises"
import { setTimeout as delay } from "node:timers/promises"
import type { CommandLine } from "@holdfast/database/embedded/EndsWithParent"

export interface Place {
  /** Beside a busy process of the usual niceness: 5 leaves a quarter of a processor, 10 a tenth. */
  readonly niceness: number
  /** Among the disk's usual requests, 0 (first) to 7; the usual is 4. */
  readonly diskLevel: number
}

const places: Readonly<Record<string, Place>> = {
  "file-gateway": { niceness: 5, diskLevel: 6 },
  "file-worker": { niceness: 10, diskLevel: 7 }
}

/** Null: among the first. */
export const placeOf = (process: string): Place | null => places[process] ?? null

interface Means {
  readonly program: string
  readonly debianPackage: string
  readonly gives: string
  readonly before: (place: Place) => ReadonlyArray<string>
}

export const allMeans: ReadonlyArray<Means> = [
  {
    ...{ program: "chrt", debianPackage: "util-linux", gives: "do not wake up in front of others" },
    before: () => ["chrt", "--batch", "0"]
  },
  {
    ...{ program: "nice", debianPackage: "coreutils", gives: "have a smaller share of the processors" },
    before: ({ niceness }) => ["nice", "-n", String(niceness)]
  },
  {
    ...{ program: "ionice", debianPackage: "util-linux", gives: "have a smaller share of the disk" },
    before: ({ diskLevel }) => ["ionice", "-c", "2", "-n", String(diskLevel)]
  }
]

/** Tried once: what the system allows does not change while this runs. */
export const meansHere = (): Promise<ReadonlyArray<Means>> => {
  found ??= Promise.all(allMeans.map(works)).then((work) => allMeans.filter((_, index) => work[index]))
  return found
}
let found: Promise<ReadonlyArray<Means>> | undefined

/** A container may have the program and forbid what it does. */
const works = ({ before }: Means): Promise<boolean> =>
  new Promise((resolve) => {
    const [program = "", ...args] = [...before({ niceness: 1, diskLevel: 7 }), "true"]
    execFile(program, args, { timeout: 5_000 }, (error) => resolve(error === null))
  })

/** The same command, in its place; each of these programs becomes the next one. */
export const inPlace = async (place: Place | null, command: CommandLine): Promise<CommandLine> => {
  if (place === null) return command
  const [first, ...rest] = [...(await meansHere()).flatMap(({ before }) => before(place)), ...command]
  return first === undefined ? command : [first, ...rest]
}

/**
 * Where the kernel groups processes by session (`sched_autogroup_enabled`, as on desktops and in plain shells), niceness counts within a session
 * only, and each of ours has its own: the session needs it too. The kernel takes one such wish in a tenth of a second.
 */
export const placeSession = async (pid: number, place: Place | null): Promise<void> => {
  if (place === null) return
  for (let attempt = 0; attempt < sessionAttemptsMax; attempt++) {
    if (await told(pid, place)) return
    await delay(150)
  }
}

const sessionAttemptsMax = 10

/** Also when it can never be told: there are no sessions here, or the process is gone. */
const told = (pid: number, { niceness }: Place): Promise<boolean> =>
  writeFile(`/proc/${pid}/autogroup`, String(niceness)).then(
    () => true,
    (error: unknown) => !(error instanceof Error && "code" in error && error.code === "EAGAIN")
  )
