// The Redis cache under the contract.
import { Health } from "@holdfast/resilience/Health"
import { Layer, Redacted } from "effect"
import * as CacheRedis from "../src/CacheRedis.ts"
import { contract } from "./CacheContract.ts"

const url = process.env.HOLDFAST_TEST_REDIS_URL
if (url === undefined)
  throw new Error("HOLDFAST_TEST_REDIS_URL is not set: run `npm test`, which starts the private servers")

contract(
  "redis",
  CacheRedis.layer({ url: Redacted.make(url), keyPrefix: `test-${crypto.randomUUID()}` }).pipe(
    Layer.provide(Health.layer)
  )
)
