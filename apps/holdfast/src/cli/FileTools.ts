// What the doctor says of the tools that files go through: how the connected clamd is set, how tightly hostile files are shut in on this
// machine, which documents get a preview, and how far file traffic stands behind everything else.
import { makePrograms } from "@holdfast/converter/Programs"
import { confinement } from "@holdfast/sandbox/Sandbox"
import * as ScannerClamAv from "@holdfast/scanner/ScannerClamAv"
import { Effect, Option } from "effect"
import type { Settings } from "../Settings.ts"
import { allMeans, meansHere } from "../supervisor/Priority.ts"
import type { Finding } from "./Doctor.ts"

export const checkFileTools = (settings: Settings): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.map(Effect.all([checkClamd(settings), checkSandbox, checkPreviews, checkPriority]), (findings) =>
    findings.flat()
  )

/** A clamd that cannot be asked is told of where servers are. */
const checkClamd = ({ clamdUrl }: Settings): Effect.Effect<ReadonlyArray<Finding>> =>
  Option.match(clamdUrl, {
    onNone: () => Effect.succeed([]),
    onSome: (url) =>
      ScannerClamAv.examine({ url }).pipe(
        Effect.timeout("10 seconds"),
        Effect.map(({ missing }) => [
          missing.length === 0
            ? { what: "clamd's settings", well: true, told: "alerts for what it cannot look into" }
            : { what: "clamd's settings", well: false, told: `set ${missing.join(" and ")} in clamd.conf.` }
        ]),
        Effect.orElseSucceed(() => [])
      )
  })

const sentences = {
  bubblewrap: "bubblewrap: no network, and no file but its own",
  namespace: "a network namespace; install bubblewrap so that hostile files see no other file either",
  rlimits: "limits alone; install bubblewrap and allow namespaces so that hostile files have no network"
} as const

const checkSandbox = Effect.map(
  confinement,
  (how): ReadonlyArray<Finding> => [{ what: "sandbox", well: true, told: sentences[how] }]
)

const checkPreviews = Effect.promise(async (): Promise<ReadonlyArray<Finding>> => {
  const programs = makePrograms({})
  const [pdftoppm, soffice] = await Promise.all([programs.pdftoppm(), programs.soffice()])
  const lacking = [
    ...(pdftoppm === null ? ["poppler-utils for PDFs"] : []),
    ...(soffice === null ? ["LibreOffice for office documents"] : [])
  ]
  const told = lacking.length === 0 ? "PDFs and office documents" : `none without ${lacking.join(" and ")}`
  return [{ what: "previews", well: true, told }]
})

/** Of what `up` starts; systemd and containers have their own ways. */
const checkPriority = Effect.promise(async (): Promise<ReadonlyArray<Finding>> => {
  const here = await meansHere()
  const lacking = allMeans.filter((means) => !here.includes(means))
  const told =
    lacking.length === 0
      ? "file processes stand behind the others, for processors and disk"
      : lacking
          .map(
            ({ debianPackage, gives, program }) =>
              `without ${program} (${debianPackage}) file processes cannot ${gives}`
          )
          .join("\n")
  return [{ what: "priorities", well: true, told }]
})
