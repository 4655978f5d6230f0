// The bound on what waits for all clients together. Each socket has its own bound, but ten thousand of them behind a line that has gone slow would
// take more memory than there is long before any reaches it.
import type { Connection } from "./Connection.ts"

type Holder = Pick<Connection, "bufferedBytes" | "terminate">

/**
 * Cuts the sockets that hold the most, until all together hold no more than half of the bound: without a word, which would stand behind all
 * that they do not take. They resume from their cursors.
 */
export const relieve = (connections: Iterable<Holder>, bytesMax: number): void => {
  const full: Array<readonly [bytes: number, connection: Holder]> = []
  let total = 0
  for (const connection of connections) {
    const { bufferedBytes } = connection
    if (bufferedBytes > 0) full.push([bufferedBytes, connection])
    total += bufferedBytes
  }
  if (total <= bytesMax) return
  full.sort(([left], [right]) => right - left)
  for (const [bytes, connection] of full) {
    if (total <= bytesMax / 2) return
    connection.terminate()
    total -= bytes
  }
}
