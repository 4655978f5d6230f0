// What an operator, a proxy and Prometheus ask every process. Live: the process runs. Ready: it is neither starting nor stopping, and every
// dependency that it cannot do without is not down; the others are told all the same. None of it calls a dependency: the guards know.
import type { FailureDomain } from "@holdfast/resilience/FailureDomain"
import { type DependencyHealth, Health } from "@holdfast/resilience/Health"
import { DateTime, Effect, Layer, Metric } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { Lifecycle } from "./Lifecycle.ts"

export interface HealthOptions {
  readonly process: string
  /** Down means not ready; any other dependency has a fallback here. */
  readonly needs: ReadonlyArray<FailureDomain>
}

export const layer = (options: HealthOptions) =>
  Layer.mergeAll(
    HttpRouter.add("GET", "/health/live", live(options)),
    HttpRouter.add("GET", "/health/ready", ready(options)),
    HttpRouter.add("GET", "/metrics", metrics)
  )

const live = ({ process }: HealthOptions) => answer(200, { process, status: "live" })

const ready = (options: HealthOptions) =>
  Effect.gen(function* () {
    const dependencies = yield* Health.use((health) => health.all)
    const missing = dependencies.some(({ dependency, state }) => state === "down" && options.needs.includes(dependency))
    const phase = yield* Lifecycle.use((life) => life.phase)
    const status = phase === "running" ? (missing ? "not ready" : "ready") : phase
    return answer(status === "ready" ? 200 : 503, {
      process: options.process,
      status,
      dependencies: dependencies.map((known) => describe(known, options))
    })
  })

const describe = ({ dependency, detail, since, state }: DependencyHealth, { needs }: HealthOptions) => ({
  dependency,
  state,
  since: DateTime.formatIso(since),
  detail,
  needed: needs.includes(dependency)
})

const answer = (status: number, body: unknown) =>
  HttpServerResponse.jsonUnsafe(body, { status, headers: { "cache-control": "no-store" } })

const dependencyState = Metric.gauge("holdfast_dependency_state", {
  description: "What a dependency is doing as this process sees it: 1 up, 0.5 degraded, 0 down"
})
const level = { up: 1, degraded: 0.5, down: 0 } as const

const metrics = Effect.gen(function* () {
  for (const { dependency, state } of yield* Health.use((health) => health.all)) {
    yield* Metric.update(Metric.withAttributes(dependencyState, { dependency }), level[state])
  }
  return HttpServerResponse.text(yield* PrometheusMetrics.format(), {
    contentType: "text/plain; version=0.0.4; charset=utf-8",
    headers: { "cache-control": "no-store" }
  })
})
