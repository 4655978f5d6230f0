// What a client says about its upload, checked before a byte is taken. A name loses any path in front of it and may not hold what
// deceives its reader; errors name the field.

import { MediaType } from "@holdfast/contracts/attachment/Stages"
import { ValidationFailed } from "@holdfast/contracts/CommandErrors"
import { Traceparent } from "@holdfast/contracts/Envelope"
import { CorrelationId, PrincipalId, TicketId } from "@holdfast/contracts/Ids"
import { FileName } from "@holdfast/contracts/Text"
import { Result, Schema } from "effect"

/** As it is kept with the upload. All values are text: that is what tus keeps. */
export const UploadFacts = Schema.Struct({
  filename: FileName,
  filetype: MediaType,
  ticketId: Schema.optionalKey(TicketId),
  ownerId: PrincipalId,
  correlationId: CorrelationId,
  traceparent: Schema.optionalKey(Traceparent)
})
export type UploadFacts = typeof UploadFacts.Type
export const decodeFacts = Schema.decodeUnknownResult(UploadFacts)

export interface Declared {
  readonly filename: string
  readonly filetype: string
  readonly ticketId?: TicketId
}

type Metadata = Readonly<Record<string, string | null>>

export const readDeclared = (metadata: Metadata): Result.Result<Declared, ValidationFailed> => {
  const issues: Array<{ path: string; message: string }> = []
  const field = <A>(path: string, decoded: Result.Result<A, string>): A | undefined => {
    if (Result.isSuccess(decoded)) return decoded.success
    issues.push({ path, message: decoded.failure })
    return undefined
  }
  const filename = field("filename", readName(metadata.filename))
  const filetype = field("filetype", readType(metadata.filetype))
  const ticketId = metadata.ticketId ? field("ticketId", readTicketId(metadata.ticketId)) : undefined
  if (issues.length > 0 || filename === undefined || filetype === undefined) {
    return Result.fail(new ValidationFailed({ issues }))
  }
  return Result.succeed({ filename, filetype, ...(ticketId === undefined ? {} : { ticketId }) })
}

const decodeName = Schema.decodeUnknownResult(FileName)
const decodeType = Schema.decodeUnknownResult(MediaType)
const decodeTicketId = Schema.decodeUnknownResult(TicketId)

// Characters that turn the direction of text around: `invoice<202e>fdp.exe` reads as a PDF.
const turnsText = /[\u202a-\u202e\u2066-\u2069]/

const readName = (given: string | null | undefined): Result.Result<string, string> => {
  const name = (given ?? "").split(/[/\\]/).at(-1)?.trim() ?? ""
  if (turnsText.test(name)) return Result.fail("may not hold characters that change the direction of text")
  if (name === "." || name === "..") return Result.fail("is not a name")
  return Result.mapError(decodeName(name), () => "needs 1 to 255 characters on one line, without control characters")
}

/** Parameters after the type (`text/plain; charset=utf-8`) are dropped; no type is a type nobody knows. */
const readType = (given: string | null | undefined): Result.Result<string, string> => {
  const type = (given ?? "").split(";")[0]?.trim().toLowerCase() ?? ""
  return type === ""
    ? Result.succeed("application/octet-stream")
    : Result.mapError(decodeType(type), () => "is not a media type such as image/png")
}

const readTicketId = (given: string): Result.Result<TicketId, string> =>
  Result.mapError(decodeTicketId(given), () => "is not a ticket's id, a UUID in lower case")
