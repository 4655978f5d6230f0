// Who is acting. A verified token becomes a Principal once, at the edge; everything behind the edge sees only this.
import { Schema } from "effect"
import { PrincipalId } from "./Ids.ts"

export const Role = Schema.Literals(["admin", "supervisor", "agent", "customer", "service"])
export type Role = typeof Role.Type

/** Everyone who works at the desk; a customer is the only role that is not staff. */
export const isStaff = (principal: Principal): boolean => principal.role !== "customer"

const Label = Schema.String.check(Schema.isBetweenLength(1, 200))

export const Principal = Schema.Struct({
  id: PrincipalId,
  role: Role,
  name: Schema.optionalKey(Label),
  email: Schema.optionalKey(Schema.String.check(Schema.isBetweenLength(3, 254)))
})
export type Principal = typeof Principal.Type

/** A person as other people's screens name them. */
export const PersonRef = Schema.Struct({
  id: PrincipalId,
  name: Schema.optionalKey(Label),
  email: Schema.optionalKey(Schema.String.check(Schema.isBetweenLength(3, 254)))
})
export type PersonRef = typeof PersonRef.Type

export const toPersonRef = (principal: Principal): PersonRef => ({
  id: principal.id,
  ...(principal.name === undefined ? {} : { name: principal.name }),
  ...(principal.email === undefined ? {} : { email: principal.email })
})
