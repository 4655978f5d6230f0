// What time a disk says it is: the time that it gives to the files on it. Ages of files are measured by it, so that a process whose own clock
// is days off removes nothing too early, and several machines that share a disk agree.
import { chmod, stat } from "node:fs/promises"

/** Changes nothing but the folder's time of change; works on a full disk, fails on one that takes no writes. */
export const diskNowMs = async (folder: string): Promise<number> => {
  const { mode } = await stat(folder)
  await chmod(folder, mode & 0o7777)
  return (await stat(folder)).ctimeMs
}
