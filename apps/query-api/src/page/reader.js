// Reads anew after changes: one reading at a time, however many changes ask for one, and again, a few times, until what is read holds the newest
// change that was heard of. What is read follows what happens within moments, not at once.
const attemptsMax = 8
const pauseMsMin = 100
const pauseMsMax = 2000

/** @param {() => Promise<number>} read gives the position that was read, and throws when there was no answer */
export const makeReader = (read) => {
  let heard = 0
  let isWanted = false
  let isReading = false

  const readUpTo = async () => {
    for (let attempt = 0; attempt < attemptsMax && !isWanted; attempt++) {
      const position = await read().catch(() => null)
      if (position === null || position >= heard) return
      await pause(Math.min(pauseMsMax, pauseMsMin * 2 ** attempt))
    }
  }

  /** @param {number} [position] of the change that was heard of */
  return async (position = 0) => {
    heard = Math.max(heard, position)
    isWanted = true
    if (isReading) return
    isReading = true
    while (isWanted) {
      isWanted = false
      await readUpTo()
    }
    isReading = false
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
