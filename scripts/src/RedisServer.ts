// A private Redis for tests. It keeps nothing on disk: what the desk stores there is a copy by design.
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { requireExecutable } from "./Binaries.ts"
import type { ServerPlan } from "./ServerProcess.ts"

export const redisPlan = (root: string, port: number): ServerPlan => {
  const folder = join(root, "redis")
  const configuration = join(folder, "redis.conf")
  return {
    name: "redis",
    port,
    url: `redis://127.0.0.1:${port}`,
    folder,
    prepare: async () =>
      writeFileSync(configuration, `port ${port}\nbind 127.0.0.1\ndir "${folder}"\nsave ""\nappendonly no\n`),
    command: [requireExecutable("redis-server"), configuration],
    environment: {},
    user: undefined,
    greeting: { send: Buffer.from("PING\r\n"), expect: Buffer.from("+PONG") },
    stopSignal: "SIGTERM"
  }
}
