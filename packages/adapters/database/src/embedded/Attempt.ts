// Turns what the operating system says into one sentence that names what was tried and what stood in the way.
import { Effect } from "effect"
import { ServerEmbeddedError } from "./ServerEmbeddedError.ts"

export const attempt = <A>(what: string, run: () => Promise<A>): Effect.Effect<A, ServerEmbeddedError> =>
  Effect.tryPromise({ try: run, catch: (cause) => refusal(what, cause) })

export const refusal = (what: string, cause: unknown): ServerEmbeddedError =>
  new ServerEmbeddedError({ sentence: `${what} failed: ${reason(cause)}` })

const reason = (cause: unknown): string => {
  if (!(cause instanceof Error)) return String(cause)
  const said = "stderr" in cause && typeof cause.stderr === "string" ? cause.stderr.trim() : ""
  if (/ENOSPC|No space left on device/.test(`${cause.message}\n${said}`)) return "the disk is full."
  if ("code" in cause && cause.code === "EACCES") return `this account may not write there (${cause.message}).`
  return lastLine(said) ?? cause.message
}

const lastLine = (text: string): string | undefined => text.split("\n").findLast((line) => line.trim() !== "")
