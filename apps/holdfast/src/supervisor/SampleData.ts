// A handful of tickets and people for a desk that starts for the first time, made through the ordinary commands like everything else.
// Every command has a fixed id, so a start that was cut short goes on where it stopped and nothing is there twice.
import { access, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { deriveCommandId } from "@holdfast/domain/DerivedId"
import { Duration, Effect, Schedule } from "effect"
import { type Person, postCommand } from "../DeskClient.ts"
import { refuse } from "../Refusal.ts"
import type { DataFolder } from "./DataFolder.ts"
import type { Tokens } from "./Keys.ts"

const maria: Person = { id: "maria.lopes", name: "Maria Lopes", email: "maria.lopes@example.com", role: "customer" }
const jonas: Person = { id: "jonas.weber", name: "Jonas Weber", email: "jonas.weber@example.com", role: "customer" }
const amara: Person = { id: "amara.okafor", name: "Amara Okafor", email: "amara.okafor@example.com", role: "customer" }
const sam: Person = { id: "sam.reyes", name: "Sam Reyes", email: "sam.reyes@example.com", role: "agent" }
const kim: Person = { id: "kim.tanaka", name: "Kim Tanaka", email: "kim.tanaka@example.com", role: "agent" }

interface Step {
  readonly by: Person
  readonly path: string
  readonly payload: Readonly<Record<string, unknown>>
}

const idOf = (step: number): string => deriveCommandId(`sample-data:${step}`)
const onTicket = (step: number, rest: string) => `/v1/tickets/${idOf(step)}/${rest}`

/** The number of a step is its id; a ticket's id is that of the step that opened it. */
const steps: ReadonlyArray<Step> = [
  {
    by: maria,
    path: "/v1/tickets",
    payload: {
      subject: "The label printer prints blank labels",
      body: "Since this morning every label from the printer at dock 3 comes out blank. We changed the roll twice.",
      priority: "high"
    }
  },
  { by: sam, path: onTicket(0, "claim"), payload: {} },
  {
    by: sam,
    path: onTicket(0, "replies"),
    payload: { body: "Thank you, Maria. Could you tell me which side of the labels faces the print head?" }
  },
  { by: maria, path: onTicket(0, "replies"), payload: { body: "The shiny side. Is that wrong?" } },
  {
    by: sam,
    path: onTicket(0, "notes"),
    payload: { body: "Third time this month: ask purchasing about the new rolls." }
  },
  {
    by: jonas,
    path: "/v1/tickets",
    payload: {
      subject: "I cannot sign in after my holiday",
      body: "It says that my password has expired, and the link in the mail is dead."
    }
  },
  {
    by: amara,
    path: "/v1/tickets",
    payload: {
      subject: "The line to the Porto branch is slow",
      body: "Pages take half a minute to load in the afternoon.",
      priority: "urgent"
    }
  },
  { by: kim, path: onTicket(6, "assignment"), payload: { assigneeId: kim.id } },
  {
    by: jonas,
    path: "/v1/tickets",
    payload: { subject: "A second monitor for my desk", body: "As agreed with my manager. No hurry.", priority: "low" }
  },
  { by: kim, path: onTicket(8, "replies"), payload: { body: "It is on its way; expect it on Thursday." } },
  { by: kim, path: onTicket(8, "status"), payload: { status: "solved" } }
]

/** Done once per data folder. */
export const addSampleData = (folder: DataFolder, commandUrl: string, tokens: Tokens) =>
  Effect.gen(function* () {
    const marker = join(folder.run, "sample-data.done")
    if (
      yield* Effect.promise(() =>
        access(marker).then(
          () => true,
          () => false
        )
      )
    )
      return
    for (const [index, { by, path, payload }] of steps.entries()) {
      const post = postCommand({
        base: commandUrl,
        path,
        payload,
        commandId: idOf(index),
        token: yield* tokens.make(by, Duration.minutes(5))
      })
      const { status } = yield* post.pipe(
        Effect.repeat({ until: ({ status }) => status > 0 && status < 500, schedule: patience })
      )
      // 409: an earlier start got this far.
      if (status !== 200 && status !== 409) {
        return yield* refuse(`The sample data could not be added: ${path} answered ${status}.`)
      }
    }
    yield* Effect.promise(() => writeFile(marker, ""))
  })

const patience = Schedule.spaced("250 millis").pipe(Schedule.upTo({ times: 40 }))
