// Time and chance as the client meets them, so that tests bring their own.

export interface Timing {
  readonly nowMs: () => number
  /** Resolves after so long, or at once when the signal fires. Never rejects. */
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>
  /** From 0 to 1. */
  readonly random: () => number
}

export const realTiming: Timing = {
  nowMs: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) return resolve()
      const wake = () => {
        clearTimeout(timer)
        signal?.removeEventListener("abort", wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      signal?.addEventListener("abort", wake)
    }),
  random: () => Math.random()
}
