// The commands, each a function made from its one definition in the contracts. A command goes out under one commandId however often it is
// sent, so repeating is safe; it is repeated while the truth is not known and never once the desk has refused. An answer counts only
// when it is recognisably the desk's: a proxy's page or a hotel's login form says nothing about a command.
import {
  RecordFileRescan,
  RecordFileStages,
  RegisterFile,
  RescanFile,
  RetryFile,
  WithdrawFile
} from "@holdfast/contracts/attachment/Commands"
import { CommandAccepted } from "@holdfast/contracts/Command"
import {
  type CommandError,
  CommandIdReused,
  type CommandInProgress,
  Forbidden,
  type OutcomeUnknown,
  type Overloaded,
  type RateLimited,
  Unauthenticated,
  ValidationFailed,
  VersionConflict,
  type WriteUnavailable
} from "@holdfast/contracts/CommandErrors"
import type { CommandName, DeskCommandDefinition } from "@holdfast/contracts/Commands"
import { ReadNotifications } from "@holdfast/contracts/notification/Commands"
import {
  AddNote,
  AssignTicket,
  AttachFile,
  ChangeTicketStatus,
  ClaimTicket,
  OpenTicket,
  ReplyToTicket,
  WithdrawAttachment
} from "@holdfast/contracts/ticket/Commands"
import { Result, Schema, SchemaIssue } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import { waitBefore } from "./Backoff.ts"
import type { Desk, NoReply, Reply } from "./Desk.ts"
import { Requests } from "./Limits.ts"

/** A refusal that this version of the client does not know. */
export interface UnrecognisedProblem {
  readonly _tag: "UnrecognisedProblem"
  /** The stable `type` of the problem. */
  readonly type: string
  readonly title: string
  readonly httpStatus: number
}

/** What answers nothing yet: repeating the same commandId does. */
type Transient = RateLimited | Overloaded | WriteUnavailable | CommandInProgress | OutcomeUnknown

export type CommandProblem<Refusal> = Refusal | Exclude<CommandError, Transient> | UnrecognisedProblem

export type CommandOutcome<Refusal> =
  /** Done, now or by an earlier repetition (`replayed`). */
  | {
      readonly status: "accepted"
      readonly commandId: string
      /** The ticket or file; for a new ticket its id. */
      readonly streamId: string
      /** For `atLeastVersion` of a query, and `expectedVersion` of the next command. */
      readonly version: number
      /** Of a new ticket. */
      readonly number: number | null
      readonly replayed: boolean
    }
  /** Not done, and repeating it changes nothing. */
  | { readonly status: "refused"; readonly commandId: string; readonly problem: CommandProblem<Refusal> }
  /** Not done: the desk could not be reached or could not write, to the end. */
  | { readonly status: "unavailable"; readonly commandId: string; readonly detail: string }
  /** It may be done or not. Only repeating it with this commandId tells. */
  | { readonly status: "unknown"; readonly commandId: string; readonly detail: string }

export interface CommandOptions {
  /** Made by the client unless it is given. The same id means the same command. */
  readonly commandId?: string
  /** Refuse with `VersionConflict` unless the ticket or file is at exactly this version. */
  readonly expectedVersion?: number
  readonly correlationId?: string
  /** For all repetitions together. */
  readonly deadlineMs?: number
  readonly signal?: AbortSignal
}

export type SendCommand<Payload, Refusal> = (
  payload: Payload,
  options?: CommandOptions
) => Promise<CommandOutcome<Refusal>>

export type PayloadOf<Definition extends DeskCommandDefinition> = Definition["payload"]["Encoded"]
export type RefusalOf<Definition extends DeskCommandDefinition> = Definition["refusals"][number]["Type"]

export type Commands = {
  readonly [Definition in DeskCommandDefinition as Definition["name"]]: SendCommand<
    PayloadOf<Definition>,
    RefusalOf<Definition>
  >
}

export const makeCommands = (desk: Desk) =>
  ({
    OpenTicket: senderOf(desk, OpenTicket),
    ReplyToTicket: senderOf(desk, ReplyToTicket),
    AddNote: senderOf(desk, AddNote),
    AssignTicket: senderOf(desk, AssignTicket),
    ClaimTicket: senderOf(desk, ClaimTicket),
    ChangeTicketStatus: senderOf(desk, ChangeTicketStatus),
    AttachFile: senderOf(desk, AttachFile),
    RegisterFile: senderOf(desk, RegisterFile),
    RecordFileStages: senderOf(desk, RecordFileStages),
    WithdrawAttachment: senderOf(desk, WithdrawAttachment),
    RetryFile: senderOf(desk, RetryFile),
    RescanFile: senderOf(desk, RescanFile),
    RecordFileRescan: senderOf(desk, RecordFileRescan),
    WithdrawFile: senderOf(desk, WithdrawFile),
    ReadNotifications: senderOf(desk, ReadNotifications)
  }) satisfies Commands & Record<CommandName, SendCommand<unknown, unknown>>

type Tagged = { readonly _tag: string }
type RefusalSchemas = ReadonlyArray<Schema.Decoder<Tagged> & { readonly identifier: string }>

interface Sendable<Refusals extends RefusalSchemas> {
  readonly path: string
  readonly payload: Schema.Decoder<unknown>
  readonly refusals: Refusals
}

/** Takes any payload: it is checked before it is sent, so a payload that was kept for a while may be from an older version. */
const senderOf =
  <const Refusals extends RefusalSchemas>(
    desk: Desk,
    definition: Sendable<Refusals>
  ): SendCommand<unknown, Refusals[number]["Type"]> =>
  async (payload, options = {}) => {
    const commandId = options.commandId ?? uuidV7Unsafe()
    const issues = issuesOf(definition.payload, payload)
    if (!isFields(payload) || issues.length > 0)
      return { status: "refused", commandId, problem: new ValidationFailed({ issues }) }
    const read = (reply: Reply) => verdictOf(definition.refusals, commandId, reply)
    return await repeat(desk, questionOf(definition.path, payload, commandId, options), commandId, options, read)
  }

type Fields = Readonly<Record<string, unknown>>

const isFields = (value: unknown): value is Fields => typeof value === "object" && value !== null

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const issuesOf = (schema: Schema.Decoder<unknown>, payload: unknown): ValidationFailed["issues"] => {
  const decoded = Schema.decodeUnknownResult(schema, { errors: "all", onExcessProperty: "error" })(payload)
  if (Result.isSuccess(decoded)) return []
  return format(decoded.failure.issue).issues.map(({ message, path = [] }) => ({
    path: path.map((part) => String(typeof part === "object" ? part.key : part)).join("."),
    message
  }))
}

const questionOf = (path: string, payload: Fields, commandId: string, options: CommandOptions) => {
  const inPath = new Set([...path.matchAll(/:(\w+)/g)].map(([, name]) => name))
  return {
    service: "commands" as const,
    path: path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(String(payload[name]))),
    headers: {
      "idempotency-key": commandId,
      ...(options.expectedVersion === undefined ? {} : { "if-match": `"${options.expectedVersion}"` }),
      ...(options.correlationId === undefined ? {} : { "x-correlation-id": options.correlationId })
    },
    body: Object.fromEntries(Object.entries(payload).filter(([name]) => !inPath.has(name)))
  }
}

/** What one answer means. */
type Verdict<Refusal> =
  | CommandOutcome<Refusal>
  | {
      readonly status: "again"
      readonly mayBeDone: boolean
      readonly retryAfterMs: number
      readonly detail: string
      readonly tokenRefused: boolean
    }

const again = (detail: string, mayBeDone: boolean, retryAfterMs = 0) =>
  ({ status: "again", mayBeDone, retryAfterMs, detail, tokenRefused: false }) as const

const decodeAccepted = Schema.decodeUnknownResult(CommandAccepted)
const decodeProblem = Schema.decodeUnknownResult(
  Schema.Struct({ type: Schema.String, title: Schema.String, retryAfterMs: Schema.optionalKey(Schema.Natural) })
)
const problemPrefix = "urn:holdfast:problem:"

const verdictOf = <Refusals extends RefusalSchemas>(
  refusals: Refusals,
  commandId: string,
  reply: Reply
): Verdict<Refusals[number]["Type"]> => {
  const { body, status } = reply
  if (status === 200) {
    const accepted = decodeAccepted(body)
    if (Result.isFailure(accepted) || accepted.success.commandId !== commandId)
      return again("an answer that is not the desk's", true)
    const { number = null, replayed, streamId, version } = accepted.success
    return { status: "accepted", commandId, streamId, version, number, replayed }
  }
  const problem = decodeProblem(body)
  if (Result.isFailure(problem) || !problem.success.type.startsWith(problemPrefix)) {
    return again(
      `an answer that is not the desk's, with status ${status}`,
      status < 400 || status >= 500,
      reply.retryAfterMs
    )
  }
  const { retryAfterMs = reply.retryAfterMs, title, type } = problem.success
  const tag = type.slice(problemPrefix.length)
  if (nothingDone.has(tag)) return again(title, false, retryAfterMs)
  if (stillOpen.has(tag) || status >= 500) return again(title, true, retryAfterMs)
  if (tag === "Unauthenticated") return { ...again(title, false), tokenRefused: true }
  const refusal = refusalOf([...generalProblems, ...refusals], tag, body)
  return {
    status: "refused",
    commandId,
    problem: refusal ?? { _tag: "UnrecognisedProblem", type, title, httpStatus: status }
  }
}

const nothingDone = new Set(["RateLimited", "Overloaded", "WriteUnavailable"])
const stillOpen = new Set(["CommandInProgress", "OutcomeUnknown"])

const generalProblems = [ValidationFailed, Unauthenticated, Forbidden, CommandIdReused, VersionConflict] as const

const refusalOf = <Schemas extends RefusalSchemas>(
  schemas: Schemas,
  tag: string,
  body: unknown
): Schemas[number]["Type"] | null => {
  const schema = schemas.find(({ identifier }) => identifier === tag)
  if (schema === undefined || !isFields(body)) return null
  const decoded = Schema.decodeUnknownResult(schema)({ ...body, _tag: tag })
  return Result.isSuccess(decoded) ? decoded.success : null
}

type CommandQuestion = ReturnType<typeof questionOf>

const repeat = async <Refusal>(
  desk: Desk,
  question: CommandQuestion,
  commandId: string,
  options: CommandOptions,
  read: (reply: Reply) => Verdict<Refusal>
): Promise<CommandOutcome<Refusal>> => {
  const { deadlineMs = Requests.commandDeadlineMs, signal } = options
  const untilMs = desk.timing.nowMs() + deadlineMs
  let mayBeDone = false
  let tokenRefused = false
  desk.budget.earn()
  for (let attempt = 0; ; attempt++) {
    const leftMs = untilMs - desk.timing.nowMs()
    const reply = await desk.ask({
      ...question,
      tokenRefused,
      deadlineMs: Math.min(leftMs, Requests.attemptDeadlineMs),
      signal
    })
    const verdict = reply.kind === "reply" ? read(reply) : lost(reply)
    if (verdict.status !== "again") return verdict
    if (verdict.tokenRefused && tokenRefused)
      return { status: "refused", commandId, problem: new Unauthenticated({ detail: verdict.detail }) }
    mayBeDone ||= verdict.mayBeDone
    tokenRefused = verdict.tokenRefused
    const waitMs = waitBefore(desk, attempt, verdict.retryAfterMs, untilMs)
    if (waitMs !== null) await desk.timing.sleep(waitMs, signal)
    if (waitMs === null || signal?.aborted === true)
      return { status: mayBeDone ? "unknown" : "unavailable", commandId, detail: verdict.detail }
  }
}

const lost = ({ detail, mayHaveArrived }: NoReply) => again(detail, mayHaveArrived)
