// Short-lived download links, signed with HMAC-SHA256 (RFC 2104) over everything a download needs to know. Whoever holds the key can
// make and check a link without asking anybody, so downloads work while databases are away. The principal is part of what is
// signed: a log of downloads says whose link it was. Signing and checking are pure; the time comes in.
import { createHmac, timingSafeEqual } from "node:crypto"
import { MediaType } from "@holdfast/contracts/attachment/Stages"
import { FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { FileName } from "@holdfast/contracts/Text"
import { Redacted, Result, Schema } from "effect"

export const DownloadClaims = Schema.Struct({
  fileId: FileId,
  sha256: Sha256,
  name: FileName,
  mediaType: MediaType,
  principalId: PrincipalId,
  /** Seconds since 1970; the link is refused from then on. */
  expiresAtSeconds: Schema.Natural
})
export type DownloadClaims = typeof DownloadClaims.Type

/** Missing, malformed, or not signed by this key: the same answer for all, so that nothing can be learnt by trying. */
export class LinkNotValid extends Schema.TaggedError<LinkNotValid>()("LinkNotValid", {}) {}
export class LinkExpired extends Schema.TaggedError<LinkExpired>()("LinkExpired", {
  expiresAtSeconds: Schema.Natural
}) {}

const parameterOf = {
  sha256: "h",
  name: "n",
  mediaType: "t",
  principalId: "p",
  expiresAtSeconds: "e"
} as const
const signatureParameter = "s"

/** The query string of a link to `/download/<fileId>`, without the question mark. */
export const signLink = (key: Redacted.Redacted<string>, claims: DownloadClaims): string =>
  new URLSearchParams({
    [parameterOf.sha256]: claims.sha256,
    [parameterOf.name]: claims.name,
    [parameterOf.mediaType]: claims.mediaType,
    [parameterOf.principalId]: claims.principalId,
    [parameterOf.expiresAtSeconds]: String(claims.expiresAtSeconds),
    [signatureParameter]: signatureOf(key, claims).toString("base64url")
  }).toString()

export const verifyLink = (
  key: Redacted.Redacted<string>,
  fileId: string,
  parameters: URLSearchParams,
  nowSeconds: number
): Result.Result<DownloadClaims, LinkNotValid | LinkExpired> => {
  const claims = decodeClaims({
    fileId,
    sha256: single(parameters, parameterOf.sha256),
    name: single(parameters, parameterOf.name),
    mediaType: single(parameters, parameterOf.mediaType),
    principalId: single(parameters, parameterOf.principalId),
    expiresAtSeconds: wholeNumber(single(parameters, parameterOf.expiresAtSeconds))
  })
  if (Result.isFailure(claims)) return Result.fail(new LinkNotValid())
  const given = Buffer.from(single(parameters, signatureParameter) ?? "", "base64url")
  const expected = signatureOf(key, claims.success)
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return Result.fail(new LinkNotValid())
  const { expiresAtSeconds } = claims.success
  return nowSeconds < expiresAtSeconds
    ? Result.succeed(claims.success)
    : Result.fail(new LinkExpired({ expiresAtSeconds }))
}

const decodeClaims = Schema.decodeUnknownResult(DownloadClaims)

/** A JSON array keeps the parts apart whatever they contain; the first names the purpose, so that the key cannot be made to sign anything else. */
const signatureOf = (key: Redacted.Redacted<string>, claims: DownloadClaims): Buffer =>
  createHmac("sha256", Redacted.value(key))
    .update(
      JSON.stringify([
        "holdfast-download-1",
        claims.fileId,
        claims.sha256,
        claims.name,
        claims.mediaType,
        claims.principalId,
        claims.expiresAtSeconds
      ])
    )
    .digest()

/** A parameter given twice could be read differently by two readers, so it counts as missing. */
const single = (parameters: URLSearchParams, name: string): string | undefined => {
  const values = parameters.getAll(name)
  return values.length === 1 ? values[0] : undefined
}

const wholeNumber = (text: string | undefined): number | undefined =>
  text !== undefined && /^(0|[1-9][0-9]{0,14})$/.test(text) ? Number(text) : undefined
