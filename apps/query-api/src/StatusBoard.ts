// What the desk's processes say of themselves, asked by this one so that a browser need not reach them. Each is asked with a deadline,
// all at once, every `Queries.statusEvery`; one that hangs delays nobody's answer, for answers come from memory.
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { Queries } from "@holdfast/resilience/Limits"
import { Clock, Context, DateTime, Duration, Effect, Layer, Schema } from "effect"

const State = Schema.Literals(["up", "degraded", "down"])

const Dependency = Schema.Struct({
  dependency: Schema.String,
  state: State,
  since: Schema.String,
  detail: Schema.NullOr(Schema.String)
})

const Ready = Schema.Struct({ process: Schema.String, dependencies: Schema.Array(Dependency) })

export interface ProcessStatus {
  readonly name: string
  readonly state: typeof State.Type
  /** ISO 8601; null until it was asked once. */
  readonly since: string | null
  readonly dependencies: ReadonlyArray<typeof Dependency.Type>
}

export class StatusBoard extends Context.Service<
  StatusBoard,
  { readonly processes: () => ReadonlyArray<ProcessStatus> }
>()("@holdfast/query-api/StatusBoard") {}

/** `targets` are base URLs. */
export const layer = (targets: ReadonlyArray<string>) =>
  Layer.effect(
    StatusBoard,
    Effect.gen(function* () {
      const asked = targets.slice(0, Queries.statusTargetsMax)
      const known = new Map(asked.map((target): [string, ProcessStatus] => [target, unknown(target)]))
      const once = Effect.forEach(asked, (target) => refresh(known, target), {
        concurrency: "unbounded",
        discard: true
      })
      const work = Effect.forever(Effect.andThen(once, Effect.sleep(Queries.statusEvery)))
      yield* Effect.forkScoped(keepRunning("the status board", work))
      return StatusBoard.of({ processes: () => [...known.values()] })
    })
  )

const unknown = (target: string): ProcessStatus => ({
  name: hostOf(target),
  state: "down",
  since: null,
  dependencies: []
})

const hostOf = (target: string): string => (URL.canParse(target) ? new URL(target).host : target)

const refresh = Effect.fnUntraced(function* (known: Map<string, ProcessStatus>, target: string) {
  const before = known.get(target) ?? unknown(target)
  const told = yield* Effect.promise((signal) => ask(target, signal))
  const state = told === null ? "down" : told.dependencies.some((one) => one.state !== "up") ? "degraded" : "up"
  const now = DateTime.formatIso(DateTime.makeUnsafe(yield* Clock.currentTimeMillis))
  known.set(target, {
    name: told?.process ?? before.name,
    state,
    since: before.since !== null && before.state === state ? before.since : now,
    dependencies: told?.dependencies ?? []
  })
})

const isReady = Schema.is(Ready)

/** Null: no answer that could be understood, for whatever reason; that is what the board shows. */
const ask = async (target: string, signal: AbortSignal): Promise<typeof Ready.Type | null> => {
  const deadline = AbortSignal.timeout(Duration.toMillis(Queries.statusDeadline))
  try {
    const response = await fetch(`${target}/health/ready`, {
      signal: AbortSignal.any([signal, deadline]),
      redirect: "error"
    })
    const body: unknown = await response.json()
    return isReady(body) ? body : null
  } catch {
    return null
  }
}
