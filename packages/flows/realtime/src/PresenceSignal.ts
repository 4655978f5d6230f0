// What gateways tell each other of the people on tickets: several sightings in one text, in short names, cut so that each text fits a signal.
// What cannot be read is of another release and is passed over.
import { PrincipalId, TicketId } from "@holdfast/contracts/Ids"
import { Role } from "@holdfast/contracts/Principal"
import { Audience } from "@holdfast/contracts/ticket/Status"
import { Result, Schema } from "effect"
import type { Sighting } from "./Presence.ts"

const Signal = Schema.fromJsonString(
  Schema.Struct({
    gateway: Schema.String.check(Schema.isBetweenLength(1, 64)),
    seen: Schema.Array(
      Schema.Struct({
        t: TicketId,
        i: PrincipalId,
        n: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(200))),
        r: Role,
        v: Schema.Boolean,
        w: Schema.optionalKey(Audience)
      })
    )
  })
)
const decodeSignal = Schema.decodeUnknownResult(Signal)

export interface Told {
  readonly gateway: string
  readonly sightings: ReadonlyArray<Sighting>
}

/** Null: not for this release. */
export const readSignal = (text: string): Told | null => {
  const signal = decodeSignal(text)
  if (Result.isFailure(signal)) return null
  const { gateway, seen } = signal.success
  const sightings = seen.map(({ i, n, r, t, v, w }): Sighting => {
    return { ticketId: t, person: { id: i, name: n ?? null, role: r }, isViewing: v, writing: w ?? null }
  })
  return { gateway, sightings }
}

/** Each text is at most `bytesMax`. */
export const writeSignals = (
  gateway: string,
  sightings: ReadonlyArray<Sighting>,
  bytesMax: number
): ReadonlyArray<string> => {
  const texts: Array<string> = []
  const frame = JSON.stringify({ gateway, seen: [] })
  let parts: Array<string> = []
  let bytes = frame.length
  const cut = () => {
    if (parts.length > 0) texts.push(`${frame.slice(0, -2)}${parts.join(",")}]}`)
    parts = []
    bytes = frame.length
  }
  for (const part of sightings.map(writeSighting)) {
    const partBytes = Buffer.byteLength(part) + 1
    if (bytes + partBytes > bytesMax) cut()
    parts.push(part)
    bytes += partBytes
  }
  cut()
  return texts
}

const writeSighting = ({ isViewing, person, ticketId, writing }: Sighting): string =>
  JSON.stringify({
    t: ticketId,
    i: person.id,
    ...(person.name === null ? {} : { n: person.name }),
    r: person.role,
    v: isViewing,
    ...(writing === null ? {} : { w: writing })
  })
