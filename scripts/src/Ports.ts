// Which ports the private servers take. A preferred port is used when it is free, so that a developer's stack has stable
// addresses; otherwise a free one below the range from which the kernel gives outgoing connections theirs, so that no
// client can occupy it between the choice and the server's start. Each of vitest's workers chooses from a part of its own: what one
// has chosen and not taken yet looks free to the others.
import { createServer } from "node:net"

const portLowest = 20_000
const portHighest = 32_000
const attemptsMax = 200
// Vitest numbers its workers from 1; whoever is not its worker is 0. With more workers than this, some share a part.
const partsCount = 4

/** The preferred port when it is free and not yet promised, else a free one; the answer is added to `taken`. */
export const choosePort = async (preferred: number | undefined, taken: Set<number>): Promise<number> => {
  let candidate = preferred ?? anyPort()
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    if (!taken.has(candidate) && (await isFree(candidate))) {
      taken.add(candidate)
      return candidate
    }
    candidate = anyPort()
  }
  throw new Error(`No free port was found between ${portLowest} and ${portHighest} in ${attemptsMax} attempts.`)
}

const anyPort = (): number => {
  const size = (portHighest - portLowest) / partsCount
  const part = Number(process.env.VITEST_POOL_ID ?? "0") % partsCount
  return portLowest + part * size + Math.floor(Math.random() * size)
}

const isFree = async (port: number): Promise<boolean> =>
  (await canListen(port, "127.0.0.1")) && (await canListen(port, "0.0.0.0"))

const canListen = (port: number, host: string): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once("error", () => resolve(false))
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)))
  })
