// Another time of day for one process, by libfaketime: what a wrong clock of a machine does to everybody who runs on it. Timers and the times
// that the disk gives to files stay right, which is the harder case: one process alone is wrong, its files and its neighbours are not.
import { access, readdir } from "node:fs/promises"
import { join } from "node:path"
import { Duration, Effect } from "effect"
import { MeansMissing } from "./Means.ts"

const libraryFolders = ["/usr/lib", "/usr/local/lib"]
const library = join("faketime", "libfaketimeMT.so.1")

/** What to add to a process's environment, so that its clock is off by this; negative for behind. */
export const skewedClock = (offset: Duration.Duration): Effect.Effect<Readonly<Record<string, string>>, MeansMissing> =>
  Effect.gen(function* () {
    const found = yield* Effect.promise(findLibrary)
    const missing = new MeansMissing({ message: `Another clock needs ${library} (Debian package faketime).` })
    if (found === undefined) return yield* missing
    const seconds = Duration.toSeconds(offset)
    return {
      LD_PRELOAD: found,
      FAKETIME: `${seconds < 0 ? "" : "+"}${seconds}`,
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      NO_FAKE_STAT: "1"
    }
  })

/** Debian keeps it under the name of the machine's architecture. */
const findLibrary = async (): Promise<string | undefined> => {
  for (const folder of libraryFolders) {
    for (const name of [".", ...(await readdir(folder).catch(() => []))]) {
      const path = join(folder, name, library)
      if (
        await access(path).then(
          () => true,
          () => false
        )
      )
        return path
    }
  }
  return undefined
}
