// Verifies tokens against an issuer's key set, a file or an address. Only asymmetric algorithms that we name are accepted, so neither
// `alg: none` nor a public key used as an HMAC secret gets in. Keys are loaded in the background and kept while the issuer is away;
// only a token signed by a key that we do not know waits for the issuer.
import { Unauthenticated } from "@holdfast/contracts/CommandErrors"
import { Principal } from "@holdfast/contracts/Principal"
import { makeGuard } from "@holdfast/resilience/Guard"
import { Breaker, Identity as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Cause, Clock, Duration, Effect, Layer, Option, Redacted, Result, Schedule, Schema, Semaphore } from "effect"
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose"
import { Identity, type Verified } from "./Identity.ts"
import { KeySetUnreadable, type KeySource, keySource } from "./KeySource.ts"
import { makeVerifiedTokens } from "./VerifiedTokens.ts"

export interface IdentityOptions {
  /** A path or an http(s) URL of a JSON Web Key Set. */
  readonly jwks: string
  /** A file in which an address's keys are kept, so that a process may start while the issuer is away. */
  readonly copy?: string
  readonly issuer: string
  readonly audience: string
}

const algorithms = ["EdDSA", "ES256", "RS256"]
const clockToleranceSeconds = Duration.toSeconds(Limits.clockTolerance)

export const layer = (options: IdentityOptions) =>
  Layer.effect(Identity, make(options, keySource(options.jwks, options.copy ?? null)))

const make = Effect.fnUntraced(function* (options: IdentityOptions, source: KeySource) {
  const verifiedTokens = makeVerifiedTokens(Limits.verifiedTokensMax)
  const keys = yield* makeKeys(source, () => verifiedTokens.forget())
  const verifyAnew = Effect.fnUntraced(function* (token: string, nowMs: number) {
    const known = yield* Effect.catchTag(verifyWith(yield* keys.current, token, options, nowMs), "UnknownKey", () =>
      Effect.flatMap(keys.refreshed, (fresh) => verifyWith(fresh, token, options, nowMs))
    )
    const verified = yield* toVerified(known)
    verifiedTokens.keep(token, verified)
    return verified
  })
  const verify: Identity["Service"]["verify"] = Effect.fn("Identity.verify")(function* (redacted) {
    const token = Redacted.value(redacted)
    if (token.length > Limits.tokenLengthMax) return yield* refused("the token is too long")
    const nowMs = yield* Clock.currentTimeMillis
    const known = verifiedTokens.find(token, Math.floor(nowMs / 1000) - clockToleranceSeconds)
    return known ?? (yield* Effect.catchTag(verifyAnew(token, nowMs), "UnknownKey", () => refused("unknown key")))
  })
  return Identity.of({ verify })
})

const refused = (detail: string) => Effect.fail(new Unauthenticated({ detail }))

interface UnknownKey {
  readonly _tag: "UnknownKey"
}
const unknownKey: UnknownKey = { _tag: "UnknownKey" }

const verifyWith = (
  keys: JWTVerifyGetKey,
  token: string,
  { audience, issuer }: IdentityOptions,
  nowMs: number
): Effect.Effect<JWTPayload, Unauthenticated | UnknownKey> =>
  Effect.map(
    Effect.tryPromise({
      try: () =>
        jwtVerify(token, keys, {
          algorithms,
          audience,
          issuer,
          clockTolerance: clockToleranceSeconds,
          currentDate: new Date(nowMs),
          requiredClaims: ["exp", "sub"]
        }),
      catch: (error) =>
        error instanceof errors.JWKSNoMatchingKey ? unknownKey : new Unauthenticated({ detail: whyNot(error) })
    }),
    ({ payload }) => payload
  )

/** In words of ours: nothing of the token, and nothing that helps to forge one. */
const whyNot = (error: unknown): string => {
  if (error instanceof errors.JWTExpired) return "the token has expired; if it was just issued, a clock is wrong"
  if (error instanceof errors.JWTClaimValidationFailed && error.claim === "nbf") {
    return "the token is not valid yet; if it was just issued, a clock is wrong"
  }
  if (error instanceof errors.JWTClaimValidationFailed) return `the token's "${error.claim}" is not right for this desk`
  if (error instanceof errors.JOSEAlgNotAllowed) return "the token's algorithm is not accepted"
  return "the token is not valid"
}

const decodePrincipal = Schema.decodeUnknownOption(Principal)

const toVerified = ({ email, exp, name, role, sub }: JWTPayload): Effect.Effect<Verified, Unauthenticated> => {
  const given = { id: sub, role, ...(name === undefined ? {} : { name }), ...(email === undefined ? {} : { email }) }
  return Option.match(decodePrincipal(given), {
    onNone: () => refused("the token's claims do not name a person and a role of this desk"),
    onSome: (principal) => Effect.succeed({ principal, expiresAtSeconds: exp ?? 0 })
  })
}

interface Keys {
  /** The keys that are known; loads them when there are none yet. */
  readonly current: Effect.Effect<JWTVerifyGetKey, Unavailable>
  /** Loads them again, unless that was done a moment ago. */
  readonly refreshed: Effect.Effect<JWTVerifyGetKey, Unavailable>
}

const createLocalKeySet = (keySet: JSONWebKeySet): JWTVerifyGetKey => createLocalJWKSet(keySet)

const makeKeys = Effect.fnUntraced(function* (source: KeySource, onChange: () => void) {
  let known = Option.getOrUndefined(Option.map(yield* source.recalled, createLocalKeySet))
  const load = Effect.tap(source.load, (loaded) =>
    Effect.sync(() => {
      if (Option.isNone(loaded)) return
      known = createLocalKeySet(loaded.value)
      onChange()
    })
  )
  const guard = yield* makeGuard({
    dependency: "identity",
    deadline: Limits.fetchDeadline,
    concurrencyMax: Limits.fetchesAtOnceMax,
    acquireDeadline: Limits.acquireDeadline,
    probe: load,
    probeDeadline: Limits.fetchDeadline,
    rest: Breaker.restFar,
    toFailure: (error) => (error instanceof KeySetUnreadable ? error : null)
  })
  const refreshed = yield* oneAtATime(
    // A source of keys fails only by being unavailable; the guard has turned every other failure into that.
    Effect.catchTag(guard.call(load), "KeySetUnreadable", Effect.die),
    source.refetchDelay,
    () => known
  )
  yield* keepFresh(refreshed, source.refreshInterval)
  return {
    current: Effect.suspend(() => (known === undefined ? refreshed : Effect.succeed(known))),
    refreshed
  } satisfies Keys
})

/** Whoever waits while the keys are being loaded shares the outcome; so does whoever comes too soon after it. */
const oneAtATime = Effect.fnUntraced(function* (
  load: Effect.Effect<unknown, Unavailable>,
  delay: Duration.Duration,
  known: () => JWTVerifyGetKey | undefined
) {
  const lock = yield* Semaphore.make(1)
  let loads = 0
  let loadedAtMs = Number.NEGATIVE_INFINITY
  let failure: Unavailable | undefined
  const outcome = Effect.suspend(() => {
    const keys = known()
    if (failure !== undefined) return Effect.fail(failure)
    return keys === undefined ? Effect.die(new Error("loaded without keys")) : Effect.succeed(keys)
  })
  const loadOnce = Effect.gen(function* () {
    const result = yield* Effect.result(load)
    failure = Result.isFailure(result) ? result.failure : undefined
    loadedAtMs = yield* Clock.currentTimeMillis
    loads++
  })
  return Effect.gen(function* () {
    const asked = loads
    yield* Effect.gen(function* () {
      const isRecent = (yield* Clock.currentTimeMillis) - loadedAtMs < Duration.toMillis(delay)
      if (loads === asked && !isRecent) yield* loadOnce
    }).pipe(lock.withPermit)
    return yield* outcome
  })
})

// The guard says in health and logs when the issuer is away; the keys that are known stay in use.
const keepFresh = (refreshed: Effect.Effect<unknown, Unavailable>, interval: Duration.Duration) =>
  Effect.ignore(refreshed).pipe(
    Effect.repeat(Schedule.spaced(interval)),
    Effect.tapCause((cause) =>
      Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logError("keys are no longer refreshed", cause)
    ),
    Effect.forkScoped
  )
