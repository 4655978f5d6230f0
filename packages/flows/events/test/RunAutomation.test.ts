import { assert, describe, it } from "@effect/vitest"
import type { CommandAccepted } from "@holdfast/contracts/Command"
import { type CommandError, WriteUnavailable } from "@holdfast/contracts/CommandErrors"
import type { DeskRefusal } from "@holdfast/contracts/Commands"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { MessageId, PrincipalId, StreamVersion, TicketId } from "@holdfast/contracts/Ids"
import { TicketNotFound } from "@holdfast/contracts/ticket/Refusals"
import { CommandBus, type IssuedCommand } from "@holdfast/contracts/wire/CommandBus"
import { deriveCommandId } from "@holdfast/domain/DerivedId"
import { sequence } from "@holdfast/testkit/Envelopes"
import { Effect, Option } from "effect"
import { runAutomation } from "../src/consumers/RunAutomation.ts"

const rules = [
  {
    id: "printers",
    on: "TicketOpened" as const,
    conditions: [{ _tag: "SubjectContains" as const, words: "printer" }],
    actions: [{ _tag: "AssignTo" as const, assigneeId: PrincipalId.make("agent-7") }]
  }
]

const opened = (subject: string): Envelope => {
  const [base] = sequence("a")
  assert.isDefined(base)
  return {
    ...base,
    event: {
      _tag: "TicketOpened",
      ticketId: TicketId.make(base.streamId),
      number: 1,
      subject,
      priority: "normal",
      requester: { id: PrincipalId.make("customer-1") },
      messageId: MessageId.make(base.commandId),
      body: "It is on fire."
    }
  }
}

/** Hands the event over and notes what was issued. */
const react = (envelope: Envelope, answer: Effect.Effect<void, DeskRefusal | CommandError> = Effect.void) =>
  Effect.gen(function* () {
    const issued: Array<IssuedCommand> = []
    const accepted = (one: IssuedCommand): CommandAccepted => ({
      commandId: one.meta.commandId,
      streamId: envelope.streamId,
      version: StreamVersion.make(2),
      replayed: false
    })
    const bus = CommandBus.of({
      execute: (one) =>
        Effect.andThen(
          Effect.sync(() => issued.push(one)),
          Effect.as(answer, accepted(one))
        )
    })
    const outcome = yield* Effect.result(
      runAutomation(rules).handle(envelope).pipe(Effect.provideService(CommandBus, bus))
    )
    return { issued, outcome }
  })

describe("RunAutomation", () => {
  it.effect("issues an ordinary command with the event as its cause", () =>
    Effect.gen(function* () {
      const envelope = opened("My printer burns")
      const { issued } = yield* react(envelope)
      assert.deepStrictEqual(issued, [
        {
          principal: { id: PrincipalId.make("automation"), role: "service" },
          meta: {
            commandId: deriveCommandId(`${envelope.eventId}/printers/0`),
            correlationId: envelope.correlationId
          },
          command: {
            _tag: "AssignTicket",
            ticketId: TicketId.make(envelope.streamId),
            assigneeId: PrincipalId.make("agent-7")
          },
          causationId: Option.some(envelope.eventId)
        }
      ])
    })
  )

  it.effect("issues the same commandId again on a redelivery, so that nothing happens twice", () =>
    Effect.gen(function* () {
      const first = yield* react(opened("printer"))
      const second = yield* react(opened("printer"))
      assert.strictEqual(first.issued[0]?.meta.commandId, second.issued[0]?.meta.commandId)
    })
  )

  it.effect("does nothing for an event that no rule fits", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* react(opened("My screen flickers"))).issued, [])
    })
  )

  it.effect("takes a refusal for an answer", () =>
    Effect.gen(function* () {
      const envelope = opened("printer")
      const refusal = Effect.fail(new TicketNotFound({ ticketId: TicketId.make(envelope.streamId) }))
      assert.strictEqual((yield* react(envelope, refusal)).outcome._tag, "Success")
    })
  )

  it.effect("waits while the desk cannot write", () =>
    Effect.gen(function* () {
      const { outcome } = yield* react(opened("printer"), Effect.fail(new WriteUnavailable({ retryAfterMs: 10 })))
      assert.strictEqual(outcome._tag === "Failure" ? outcome.failure._tag : outcome._tag, "Unavailable")
    })
  )
})
