// The line between a client and a process of the desk. A request may meet nobody, and an answer may be lost with its connection or its process:
// then the client knows nothing.
import { type Context, Data, Effect } from "effect"
import type { Member } from "./Member.ts"
import type { SimulatedProcess } from "./SimulatedProcess.ts"

export class Disconnected extends Data.TaggedError("Disconnected")<{ readonly isCertain: boolean }> {}

/** A client's own patience. */
const patienceMs = 5_000

export const ask = <S, A, E>(
  client: SimulatedProcess,
  member: Member<S>,
  lost: number,
  use: (services: Context.Context<S>) => Effect.Effect<A, E>
): Effect.Effect<A, E | Disconnected> =>
  Effect.callback<A, E | Disconnected>((resume) => {
    const { world } = client
    const latencyMs = () => 0.5 + world.seed.next() * 10
    const answer = (result: Effect.Effect<A, E | Disconnected>) => void client.after(latencyMs(), () => resume(result))
    const disconnect = (isCertain: boolean) => answer(Effect.fail(new Disconnected({ isCertain })))
    world.after(latencyMs(), () => {
      const { serving } = member
      if (serving === null) return disconnect(true)
      const gone = () => {
        world.coverage.hit("request died with its process")
        disconnect(false)
      }
      serving.process.onEnd.add(gone)
      serving.process.post(() => {
        serving.process.fork(use(serving.services)).addObserver((exit) => {
          serving.process.onEnd.delete(gone)
          if (!world.seed.chance(lost)) return answer(exit)
          world.coverage.hit("answer lost on the line")
          disconnect(false)
        })
      })
    })
  }).pipe(
    Effect.timeoutOrElse({ duration: patienceMs, orElse: () => Effect.fail(new Disconnected({ isCertain: false })) })
  )
