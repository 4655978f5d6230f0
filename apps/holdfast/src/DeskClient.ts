// The desk as its users see it, for the sample data: commands over REST. Every call has a deadline, and
// an answer of any status is an answer; only silence and garbage are not.
import type { Role } from "@holdfast/contracts/Principal"
import { Supervisor } from "@holdfast/resilience/Limits"
import { Duration, Effect, Redacted } from "effect"

export interface Person {
  readonly id: string
  readonly name: string
  readonly email: string
  readonly role: Role
}

export interface Answer {
  /** 0: no answer. */
  readonly status: number
  readonly body: unknown
  readonly lastedMs: number
}

export interface PostedCommand {
  readonly base: string
  readonly path: string
  readonly payload: Readonly<Record<string, unknown>>
  readonly commandId: string
  readonly token: Redacted.Redacted<string>
}

export const postCommand = ({ base, commandId, path, payload, token }: PostedCommand): Effect.Effect<Answer> =>
  post(`${base}${path}`, token, payload, { "idempotency-key": commandId })

const post = (
  url: string,
  token: Redacted.Redacted<string>,
  body: unknown,
  extra: Readonly<Record<string, string>>
): Effect.Effect<Answer> =>
  Effect.promise(async () => {
    const begun = performance.now()
    const answered = (status: number, answer: unknown): Answer => ({
      status,
      body: answer,
      lastedMs: performance.now() - begun
    })
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: {
          ...{ "content-type": "application/json", accept: "application/json" },
          ...{ authorization: `Bearer ${Redacted.value(token)}`, ...extra }
        },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(Duration.toMillis(Supervisor.requestDeadline))
      })
      return answered(response.status, await response.json())
    } catch {
      return answered(0, null)
    }
  })
