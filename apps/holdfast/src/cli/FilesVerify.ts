// `holdfast files verify`: whether everything that files need is stored, and everything that is stored is needed; beside a running desk, or while
// its processes are stopped. It changes nothing but with `--repair`, which removes what the sweep would remove in its turn and kills the links of
// withdrawn files. Each finding is a line at once (`--json`: a line of JSON), the sum comes last. Broken off, it is started again, with `--from`
// where it was. Exit code 0: all is well; 4: something is lacking, damaged or lost, or given though it was withdrawn; 5: only old content is left
// that no file needs.
import { mkdir } from "node:fs/promises"
import { foldersIn } from "@holdfast/files/Folders"
import { allParts } from "@holdfast/files/verify/NeedsByHash"
import { type Finding, type Progress, type Verified, verify as verifyFiles } from "@holdfast/files/verify/Verify"
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { ExitCode, refuse } from "../Refusal.ts"
import type { Settings } from "../Settings.ts"
import { dataFolderAt } from "../supervisor/DataFolder.ts"
import { withFiles } from "./FilesServices.ts"
import { makeProgress } from "./Progress.ts"
import { json } from "./Up.ts"

const repair = Flag.Boolean("repair").pipe(
  Flag.withDescription("Remove old content that no file needs, as the sweep does"),
  Flag.withDefault(false)
)
const deep = Flag.Boolean("deep").pipe(
  Flag.withDescription("Read everything that is needed, and compare its hash"),
  Flag.withDefault(false)
)
const from = Flag.String("from").pipe(
  Flag.withDescription("Compare the stores from this part on, 00 to ff, as a run that was broken off told it"),
  Flag.withDefault("00")
)

interface Options {
  readonly json: boolean
  readonly repair: boolean
  readonly deep: boolean
}

export const verify = Command.make(
  "verify",
  { json, repair, deep, from },
  Effect.fn("holdfast.files.verify")(function* (options) {
    const first = allParts.indexOf(options.from)
    if (first === -1) return yield* refuse(`${options.from} is not a part of the stores: say 00 to ff.`)
    yield* withFiles((settings) => run(settings, options, allParts.slice(first)))
  })
).pipe(Command.withDescription("Compare what is stored with what files need"))

const run = Effect.fnUntraced(function* (settings: Settings, options: Options, parts: ReadonlyArray<string>) {
  const workFolder = dataFolderAt(settings.dataDir).run
  yield* Effect.promise(() => mkdir(workFolder, { recursive: true, mode: 0o700 }))
  const draw = makeProgress(options.json ? "nobody" : "people")
  const found = yield* verifyFiles({
    ...{ isDeep: options.deep, isRepairing: options.repair, parts, workFolder },
    hasOtherMachines: Option.isSome(settings.storage),
    uploadsFolder: foldersIn(settings.dataDir).uploads,
    tell: (finding) => Console.log(options.json ? JSON.stringify(finding) : findingLine(finding)),
    progress: (progress) => draw(() => progressLine(progress))
  })
  yield* Console.log(options.json ? JSON.stringify({ kind: "sum", ...found }) : sumText(found, options))
  yield* concluded(found)
})

const progressLine = ({ done, of, part, phase }: Progress): string => {
  const share = of === 0 ? "" : ` (${Math.floor((100 * done) / of)} %)`
  if (phase === "files") return `files: looked through ${done} of about ${of}${share}`
  return `contents: ${done} of ${of} parts${share}${part === null ? "" : `; --from ${part} goes on here`}`
}

const days = (ms: number) => `${Math.floor(ms / 86_400_000)} days`

export const findingLine = (finding: Finding): string => {
  switch (finding.kind) {
    case "missing":
      return `MISSING    ${finding.fileId} (${finding.state}): ${finding.sha256} is not in ${placeOf(finding)}`
    case "size":
      return `WRONG SIZE ${finding.fileId} (${finding.state}): ${finding.sha256} in ${placeOf(finding)} has ${finding.storedBytes} bytes, not ${finding.sizeBytes}`
    case "damaged":
      return `DAMAGED    ${finding.fileId} (${finding.state}): ${finding.sha256} in ${placeOf(finding)} has other bytes`
    case "lost":
      return `LOST       ${finding.fileId}: its upload was acknowledged, and neither journal nor database knows of it`
    case "alive":
      return `ALIVE      ${finding.fileId}: it was withdrawn, and its links still give it; --repair kills them`
    case "aside":
      return `ASIDE      ${finding.fileId}: the core refused it; its journal entry lies in files/journal/aside`
    case "unreadable":
      return `UNREADABLE ${finding.fileId}: its journal entry cannot be read`
    case "elsewhere":
      return `elsewhere  ${finding.fileId} (${finding.state}): not in this machine's quarantine; verify on the machine that took it`
    case "late":
      return `late       ${finding.fileId}: waits in the journal for ${Math.floor(finding.ageMs / 60_000)} minutes`
    case "orphan":
      return `left over  ${finding.sha256} in ${placeOf(finding)}: ${finding.sizeBytes} bytes that no file needs, ${days(finding.ageMs)} old`
  }
}

const placeOf = ({ place }: { readonly place: "quarantine" | "released" }): string =>
  place === "quarantine" ? "the quarantine" : "the released store"

export const sumText = (found: Verified, options: Pick<Options, "deep" | "repair">): string =>
  [
    `${found.files} files and ${found.journalEntries} journal entries; ${found.contents} contents of ${found.contentBytes} bytes, ${found.keptForNow} of them kept for a while though no file needs them.`,
    ...(options.deep ? [`${found.hashedBytes} bytes read and compared.`] : []),
    `${found.damage} lacking or damaged, ${found.notes} to be noted, ${found.orphans} left over (${found.orphanBytes} bytes)${options.repair ? `, ${found.removed} removed; the links of ${found.killed} withdrawn files killed` : ""}.`
  ].join("\n")

const concluded = ({ damage, orphans, removed }: Verified) => {
  if (damage > 0) return Effect.fail(refuse(`${damage} lacking, damaged or lost.`, ExitCode.promiseBroken))
  const left = Math.max(0, orphans - removed)
  return left === 0
    ? Effect.void
    : Effect.fail(refuse(`Nothing is lacking; ${left} contents are left over.`, ExitCode.barMissed))
}
