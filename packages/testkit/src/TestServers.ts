// The real servers that live tests use. `pnpm test` starts private ones and sets these variables; a live test without them fails and
// says so, it is never skipped.
import { randomUUID } from "node:crypto"
import { createServer } from "node:net"
import { Data, Effect } from "effect"

export class TestServerMissing extends Data.TaggedError("TestServerMissing")<{ readonly message: string }> {}

const fromEnvironment = (variable: string, server: string): Effect.Effect<string, TestServerMissing> =>
  Effect.suspend(() => {
    const url = process.env[variable]
    if (url !== undefined && url !== "") return Effect.succeed(url)
    const message = `${variable} is not set: this test needs a ${server}. \`npm test\` starts one; so does \`pnpm stack\`.`
    return Effect.fail(new TestServerMissing({ message }))
  })

/** A superuser's URL. Make a database of your own: `@holdfast/migrations/FreshDatabase`. */
export const databaseUrl = fromEnvironment("HOLDFAST_TEST_DATABASE_URL", "PostgreSQL")
export const rabbitmqUrl = fromEnvironment("HOLDFAST_TEST_RABBITMQ_URL", "RabbitMQ")
export const redisUrl = fromEnvironment("HOLDFAST_TEST_REDIS_URL", "Redis")
/** `tcp://host:port`. */
export const clamdUrl = fromEnvironment("HOLDFAST_TEST_CLAMD_URL", "clamd")

/** A name for what a test makes on a shared server: a key prefix, an exchange, a database. */
export const freshName = (what: string): string => `${what}-${randomUUID().slice(0, 8)}`

/** A port that nobody listens on. */
export const freshPort: Effect.Effect<number> = Effect.callback((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})
