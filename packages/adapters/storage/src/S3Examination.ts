// Whether a bucket can be used as released store, asked as the desk will use it: listed, written to, read and cleared, below a name of its own
// that no content has. For whoever sets it up; the answer says what to do.
import { randomUUID } from "node:crypto"
import { ObjectStorage } from "@holdfast/resilience/Limits"
import { Effect } from "effect"
import { makeS3Client, type S3Client, type S3Lost, type S3Options, type S3Refused } from "./S3Client.ts"

/** Null when all is well. */
export const examine = Effect.fn("S3.examine")((options: S3Options) =>
  useOnce(makeS3Client(options), options).pipe(
    Effect.timeout(ObjectStorage.operationDeadline),
    Effect.as(null),
    Effect.catchTags({
      S3Lost: (error) => Effect.succeed(lost(options, error)),
      S3Refused: (error) => Effect.succeed(refused(options, error)),
      TimeoutError: () =>
        Effect.succeed(`${options.endpoint} does not answer: see whether it hangs or a firewall is between.`)
    })
  )
)

const useOnce = Effect.fnUntraced(function* (client: S3Client, { prefix }: S3Options) {
  yield* client.ask({ method: "GET", name: "", query: { "list-type": "2", prefix, "max-keys": "1" } })
  const name = `doctor/${randomUUID()}`
  yield* client.ask({ method: "PUT", name, body: new Uint8Array(0) })
  yield* Effect.andThen(client.ask({ method: "GET", name }), client.ask({ method: "DELETE", name }))
})

const lost = ({ endpoint }: S3Options, { code }: S3Lost) => {
  if (/CERT|SELF_SIGNED|TLS|SSL|EPROTO/.test(code)) {
    return `${endpoint} is not trusted (${code}): name its authority in NODE_EXTRA_CA_CERTS, or say tls=false where it speaks no TLS.`
  }
  return `${endpoint} cannot be reached (${code}): start it, or correct HOLDFAST_STORAGE_URL.`
}

const refused = ({ bucket, endpoint, region }: S3Options, { code, status }: S3Refused): string => {
  const answer = `${endpoint} answered ${[status, code].join(" ").trim()}`
  if (code === "NoSuchBucket" || status === 404)
    return `${answer}: make the bucket ${bucket}, or correct HOLDFAST_STORAGE_URL.`
  if (code === "RequestTimeTooSkewed") return `${answer}: set the clock of this machine.`
  if (code === "AuthorizationHeaderMalformed" || status === 301)
    return `${answer}: ${region} is not its region; say region=.. in HOLDFAST_STORAGE_URL.`
  if (code === "InvalidAccessKeyId" || code === "SignatureDoesNotMatch") {
    return `${answer}: correct HOLDFAST_STORAGE_ACCESS_KEY and HOLDFAST_STORAGE_SECRET_KEY.`
  }
  if (status === 403)
    return `${answer}: allow these keys to list the bucket ${bucket}, and to get, put and delete below the prefix.`
  return `${answer}: see its log.`
}
