// Deliberately broken desks, one for each promise that a small change may break. Each wraps one service; the rest stays as it is.
import { EventId, Position } from "@holdfast/contracts/Ids"
import type { AppendOutcome } from "@holdfast/database/CommandStore"
import { Array, Effect } from "effect"
import type { Focus } from "./FaultPlan.ts"
import type { Mutation } from "./Mutation.ts"

interface Broken {
  readonly name: string
  /** The rule that must notice. */
  readonly invariant: string
  /** The part of the desk that it is in. */
  readonly focus: Focus
  readonly mutation: Mutation
}

let counted = 0
/** An event that nobody has counted. */
const anotherEvent = () => EventId.make(`00000000-0000-4000-8000-${(counted++).toString(16).padStart(12, "0")}`)

export const broken: ReadonlyArray<Broken> = [
  {
    name: "a store that acknowledges before it commits",
    invariant: "acknowledged is durable",
    focus: "commands",
    mutation: {
      commandStore: (store) => ({
        ...store,
        append: (batch) =>
          Effect.as(
            Effect.forkDetach(Effect.ignore(Effect.delay(store.append(batch), "40 millis"))),
            batch.map((): AppendOutcome => "appended")
          )
      })
    }
  },
  {
    name: "a relay that publishes without order",
    invariant: "order per ticket",
    focus: "reactions",
    mutation: { broker: (broker) => ({ ...broker, publish: (batch) => broker.publish(Array.reverse(batch)) }) }
  },
  {
    name: "a consumer that counts an event as often as it comes",
    invariant: "reactions happen once",
    focus: "reactions",
    mutation: {
      volumes: (volumes) => ({
        ...volumes,
        add: (counted) => volumes.add(counted.map((one) => ({ ...one, eventId: anotherEvent() })))
      })
    }
  },
  {
    name: "a store that looks for no receipt",
    invariant: "applied once",
    focus: "commands",
    mutation: { forgetsReceipts: true }
  },
  {
    name: "a subscription that resumes one event too late",
    invariant: "subscriptions exact",
    focus: "realtime",
    mutation: { resumeAfter: (after) => Position.make(after + 1) }
  },
  {
    name: "a consumer's cursor that is one ahead",
    invariant: "reactions happen",
    focus: "reactions",
    mutation: {
      cursors: (cursors) => ({
        ...cursors,
        advance: (group, position) => cursors.advance(group, Position.make(position + 1))
      })
    }
  },
  {
    name: "a breaker that opens on refusals",
    invariant: "refusals never open a breaker",
    focus: "commands",
    mutation: { countsRefusals: true }
  }
]
