// Which tests need what. `unit` needs nothing but Node; `servers` needs the private servers that scripts/stack.ts starts.
import { defineConfig } from "vitest/config"

const live = ["**/*.live.test.ts", "**/*.failure.test.ts", "test/flows/**/*.test.ts"]
const ignored = ["**/node_modules/**", ".toolchain/**", ".holdfast/**", ".test/**"]

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["**/*.test.ts"], exclude: [...ignored, ...live] } },
      {
        test: {
          name: "servers",
          include: live,
          exclude: ignored,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 2
        }
      }
    ]
  }
})
