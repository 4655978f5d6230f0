// The people whom a message names, so that they are told of it.
import { Schema } from "effect"
import { PrincipalId } from "../Ids.ts"

export const Mentions = Schema.Array(PrincipalId).check(Schema.isMaxLength(50), Schema.isUnique())
