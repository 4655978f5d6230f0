// How the gateway ends a socket or a stream, and what the client is to do then. The reason is short JSON with a stable `code`; WebSocket
// allows it 123 bytes. Codes that graphql-transport-ws defines keep their meaning; 4470 and up are ours, and no client takes them for fatal.
import { CloseCode } from "graphql-ws"

export interface Closing {
  readonly code: number
  readonly reason: string
  /** What the reason says, for who has other words for it. */
  readonly name: string
  readonly retryAfterMs: number
}

const closing = (code: number, name: string, advice: { readonly retryAfterMs?: number } = {}): Closing => ({
  code,
  reason: JSON.stringify({ code: name, ...advice }),
  name,
  retryAfterMs: advice.retryAfterMs ?? 0
})

/** As graphql-ws says it. */
export const ofProtocol = (code: number, reason: string): Closing => ({ code, reason, name: reason, retryAfterMs: 0 })

/** The token was refused. Come back with another. */
export const unauthenticated = closing(CloseCode.Forbidden, "UNAUTHENTICATED")
/** The token's time is over. Come back with a fresh one and resume. */
export const tokenExpired = closing(CloseCode.Forbidden, "TOKEN_EXPIRED")
/** The token cannot be verified just now. */
export const identityUnavailable = (retryAfterMs: number) => closing(1013, "UNAVAILABLE", { retryAfterMs })
export const badMessage = closing(CloseCode.BadRequest, "BAD_MESSAGE")
export const tooManyMessages = closing(CloseCode.BadRequest, "TOO_MANY_MESSAGES")
/** It does not take its events fast enough. Resume from the last position. */
export const slowClient = closing(4470, "SLOW_CLIENT_RESUME")
export const tooManyConnections = closing(4471, "TOO_MANY_CONNECTIONS")
/** This process stops. Resume from the last position, at any other. */
export const resumeElsewhere = (retryAfterMs: number) => closing(1001, "RESUME_ELSEWHERE", { retryAfterMs })
/** Something broke that should not. Resume from the last position. */
export const restarted = closing(1012, "RESUME")
