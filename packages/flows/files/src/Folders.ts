// Where the file flow keeps things below the data folder. All of it lies on one disk, so that content moves by name and not by copy.
import { join } from "node:path"

export interface Folders {
  readonly uploads: string
  readonly journal: string
  readonly quarantine: string
  readonly released: string
  /** Private copies of files that are being converted. */
  readonly work: string
}

export const foldersIn = (dataDir: string): Folders => ({
  uploads: join(dataDir, "files", "uploads"),
  journal: join(dataDir, "files", "journal"),
  quarantine: join(dataDir, "files", "quarantine"),
  released: join(dataDir, "files", "released"),
  work: join(dataDir, "files", "work")
})
