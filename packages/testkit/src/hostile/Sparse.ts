// A file that is huge and takes no room: a hole of the file system from end to end.
import { open } from "node:fs/promises"

export const sparseFile = async (path: string, sizeBytes = 5 * 2 ** 30): Promise<void> => {
  const file = await open(path, "wx", 0o600)
  try {
    await file.truncate(sizeBytes)
  } finally {
    await file.close()
  }
}
