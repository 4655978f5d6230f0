// `holdfast token`: makes a token with the desk's own key. Where an identity provider makes the tokens, this refuses: a second issuer would
// be a back door.
import { Role } from "@holdfast/contracts/Principal"
import { Console, Duration, Effect, Option, Redacted } from "effect"
import { Command, Flag } from "effect/cli"
import { refuse } from "../Refusal.ts"
import { readSettings } from "../Settings.ts"
import { prepareDataFolder } from "../supervisor/DataFolder.ts"
import { prepareKeys } from "../supervisor/Keys.ts"
import { secondsOf } from "./Lifetime.ts"

const role = Flag.Literals("role", Role.literals).pipe(Flag.withDescription("What its bearer may do"))
const sub = Flag.String("sub").pipe(
  Flag.withDescription("Who its bearer is; the role's name unless given"),
  Flag.optional
)
const name = Flag.String("name").pipe(Flag.withDescription("How other people see them"), Flag.optional)
const email = Flag.String("email").pipe(Flag.withDescription("Their address"), Flag.optional)
const lifetime = Flag.String("lifetime").pipe(
  Flag.withDescription("How long it is valid, such as 30m, 12h or 7d"),
  Flag.withDefault("12h")
)

export const token = Command.make(
  "token",
  { role, sub, name, email, lifetime },
  Effect.fn("holdfast.token")(function* (options) {
    const settings = yield* readSettings
    const lifetimeSeconds = secondsOf(options.lifetime)
    if (lifetimeSeconds === undefined)
      return yield* refuse(`${options.lifetime} is not a lifetime: say 30m, 12h or 7d.`)
    const { tokens } = yield* prepareKeys(yield* prepareDataFolder(settings.dataDir), settings)
    if (tokens === undefined) {
      return yield* refuse("Tokens come from the issuer behind HOLDFAST_JWKS: this desk accepts no others.")
    }
    const person = {
      ...{ id: Option.getOrElse(options.sub, () => options.role), role: options.role },
      ...Option.match(options.name, { onNone: () => ({}), onSome: (given) => ({ name: given }) }),
      ...Option.match(options.email, { onNone: () => ({}), onSome: (given) => ({ email: given }) })
    }
    yield* Console.log(Redacted.value(yield* tokens.make(person, Duration.seconds(lifetimeSeconds))))
  })
).pipe(Command.withDescription("Make a token with the desk's own key"))
