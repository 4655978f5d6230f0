// What an event worker runs: the relay and the consumers, each a part that may run in a process of its own. The pipeline of files has its
// own worker; its group is not here.
import { runConsumer } from "@holdfast/broker/Consumer"
import type { Rule } from "@holdfast/contracts/automation/Rules"
import { VolumeHours } from "@holdfast/database/VolumeHours"
import { WebhookDeliveries } from "@holdfast/database/WebhookDeliveries"
import { Effect } from "effect"
import { cacheViews } from "./consumers/CacheViews.ts"
import { deliverWebhooks, sendWebhooks } from "./consumers/DeliverWebhooks.ts"
import { keepViewsCurrent, projectViews, sweepNotifications } from "./consumers/ProjectViews.ts"
import { recordAnalytics } from "./consumers/RecordAnalytics.ts"
import { runAutomation } from "./consumers/RunAutomation.ts"
import { keepCacheCurrent } from "./consumers/WarmCache.ts"
import { runRelay } from "./Relay.ts"
import { keepSwept } from "./Sweep.ts"

export const parts = ["relay", "views", "cache", "automation", "analytics", "webhooks"] as const
export type Part = (typeof parts)[number]

/** "views,automation" as `--only` takes it; the word that is no part when there is one. */
export const parseParts = (text: string): ReadonlyArray<Part> | { readonly unknown: string } => {
  const words = text.split(",").map((word) => word.trim())
  const unknown = words.find((word) => !parts.some((part) => part === word))
  return unknown === undefined ? parts.filter((part) => words.includes(part)) : { unknown }
}

/** Runs these parts side by side for ever. */
export const runParts = (only: ReadonlyArray<Part>, rules: ReadonlyArray<Rule>): Effect.Effect<void, never, Needs> => {
  const runners: Readonly<Record<Part, Effect.Effect<never, never, Needs>>> = runnersOf(rules)
  return Effect.forEach(only, (part) => Effect.annotateLogs(runners[part], { part }), {
    concurrency: parts.length,
    discard: true
  })
}

type Needs = Effect.Services<ReturnType<typeof runnersOf>[Part]>

const runnersOf = (rules: ReadonlyArray<Rule>) => ({
  relay: runRelay,
  views: Effect.scoped(
    Effect.flatMap(projectViews, (consumer) =>
      Effect.raceFirst(
        Effect.raceFirst(runConsumer(consumer), keepViewsCurrent),
        keepSwept("notifications", sweepNotifications)
      )
    )
  ),
  cache: Effect.scoped(
    Effect.flatMap(cacheViews, (consumer) => Effect.raceFirst(runConsumer(consumer), keepCacheCurrent))
  ),
  automation: runConsumer(runAutomation(rules)),
  analytics: Effect.scoped(
    Effect.flatMap(recordAnalytics, (consumer) =>
      Effect.raceFirst(
        runConsumer(consumer),
        keepSwept(
          "counted events",
          VolumeHours.use(({ sweep }) => sweep)
        )
      )
    )
  ),
  webhooks: Effect.raceFirst(
    Effect.raceFirst(Effect.flatMap(deliverWebhooks, runConsumer), sendWebhooks),
    keepSwept(
      "webhook deliveries",
      WebhookDeliveries.use(({ sweep }) => sweep)
    )
  )
})
