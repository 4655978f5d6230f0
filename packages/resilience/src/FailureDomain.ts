// Every outside thing that can fail by itself. Health, metrics, breakers and drills use these names.
import { Schema } from "effect"

export const FailureDomain = Schema.Literals([
  "database",
  "read-database",
  "broker",
  "cache",
  "scanner",
  "converter",
  "storage",
  "object-storage",
  "identity",
  "webhook"
])
export type FailureDomain = typeof FailureDomain.Type
