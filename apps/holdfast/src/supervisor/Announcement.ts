// What a person reads once the desk is ready: what runs where, and two things to do next.
import { Redacted } from "effect"
import { type Address, addressTable } from "./Addresses.ts"

export interface Announcement {
  readonly addresses: ReadonlyArray<Address>
  readonly standIns: ReadonlyArray<readonly [role: string, by: string]>
  readonly readySeconds: number
  readonly logs: string
  /** Absent where an identity provider makes the tokens. */
  readonly admin: Admin | undefined
}

export interface Admin {
  readonly token: Redacted.Redacted<string>
  readonly statusPage: string
  readonly commandUrl: string
  /** Fresh for each announcement; pasting the command twice opens one ticket. */
  readonly commandId: string
}

export const curl = ({ commandId, commandUrl, token }: Admin): string =>
  [
    `curl -sS ${commandUrl}/v1/tickets \\`,
    `  -H 'content-type: application/json' \\`,
    `  -H 'idempotency-key: ${commandId}' \\`,
    `  -H 'authorization: Bearer ${Redacted.value(token)}' \\`,
    `  -d '{"subject":"My first ticket","body":"It works."}'`
  ].join("\n")

/** The token is in the fragment, which a browser keeps to itself. */
const statusAddress = ({ statusPage, token }: Admin): string => `${statusPage}#token=${Redacted.value(token)}`

export const announcementText = (told: Announcement): string =>
  [
    `The desk is ready after ${told.readySeconds.toFixed(1)} s. Ctrl-C stops it.`,
    addressTable(told.addresses),
    told.standIns.map(([role, by]) => `${`${role}:`.padEnd(10)}${by}`).join("\n"),
    `Logs are in ${told.logs}.`,
    ...(told.admin === undefined
      ? ["Tokens come from the issuer behind HOLDFAST_JWKS."]
      : [`Status page:\n${statusAddress(told.admin)}`, `Open a ticket:\n${curl(told.admin)}`])
  ].join("\n\n")

export const announcementJson = (told: Announcement): string =>
  JSON.stringify({
    ready: true,
    readySeconds: told.readySeconds,
    addresses: told.addresses,
    logs: told.logs,
    ...(told.admin === undefined
      ? {}
      : { adminToken: Redacted.value(told.admin.token), statusPage: statusAddress(told.admin), curl: curl(told.admin) })
  })
