// The real servers that live tests use. `pnpm test` starts private ones and sets these variables; a live test without them fails and
// says so, it is never skipped. A database
// of one's own comes from `@holdfast/migrations/FreshDatabase`.
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

export const rabbitmqUrl = fromEnvironment("HOLDFAST_TEST_RABBITMQ_URL", "RabbitMQ")
export const redisUrl = fromEnvironment("HOLDFAST_TEST_REDIS_URL", "Redis")

/** A port that nobody listens on. */
export const freshPort: Effect.Effect<number> = Effect.callback((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})
