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

/**
 * A port that nobody listens on. It lies below those that the kernel gives to outgoing connections and that the private servers choose from,
 * and in a part of this worker's own, so that nobody takes it between the choice and the listening.
 */
export const freshPort: Effect.Effect<number> = Effect.gen(function* () {
  for (let attempt = 0; attempt < partSize; attempt++) {
    const port = nextPort()
    if (yield* Effect.promise(() => isFree(port))) return port
  }
  return yield* Effect.die(new Error(`No port of this worker is free above ${portLowest}.`))
})

const portLowest = 12_000
const partSize = 2_000
// Vitest numbers its workers from 1; whoever is not its worker is 0.
const partsCount = 4
let turn = Math.floor(Math.random() * partSize)

const nextPort = (): number => {
  const part = Number(process.env.VITEST_POOL_ID ?? "0") % partsCount
  return portLowest + part * partSize + (turn++ % partSize)
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })
