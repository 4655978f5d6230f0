// Takes the bytes of a request as they come from the connection: no stream in between, no copy. The taker may ask to wait, and the wait
// reaches the sender through TCP. The connection is never ended from here, since it has an answer to carry.
import type { Readable } from "node:stream"

/** `cut`: the sender is gone before its end. `stopped`: nobody wants the rest. */
export type Received = "whole" | "cut" | "stopped"

/** Fails with what the taker fails with; ends only after whatever the taker does has ended. */
export const receiveBody = (
  body: Readable,
  /** A promise is waited for before more is given. */
  take: (chunk: Buffer) => Promise<void> | "more" | "enough",
  stop: AbortSignal
): Promise<Received> => {
  const { promise, reject, resolve } = Promise.withResolvers<Received>()
  let taking: Promise<void> = Promise.resolve()
  let isOver = false
  const end = (how: Received) => {
    if (isOver) return
    isOver = true
    for (const [event, listener] of listeners) body.off(event, listener)
    stop.removeEventListener("abort", onStop)
    body.pause()
    taking.then(() => resolve(how), reject)
  }
  const onData = (chunk: Buffer) => {
    const wait = take(chunk)
    if (wait === "more") return
    if (wait === "enough") return end("stopped")
    body.pause()
    taking = wait
    wait.then(
      () => void (isOver || body.resume()),
      () => end("stopped")
    )
  }
  const onStop = () => end("stopped")
  const listeners = [
    ["data", onData],
    ["end", () => end("whole")],
    ["error", () => end("cut")],
    ["close", () => end("cut")]
  ] as const
  if (body.destroyed || stop.aborted) {
    end(body.destroyed ? "cut" : "stopped")
    return promise
  }
  stop.addEventListener("abort", onStop)
  for (const [event, listener] of listeners) body.on(event, listener)
  body.resume()
  return promise
}
