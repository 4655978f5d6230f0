// Which tests need what. `unit` and `simulation` need nothing but Node; `servers` needs the private servers that scripts/stack.ts starts.
import { defineConfig } from "vitest/config"

const live = ["**/*.live.test.ts", "**/*.failure.test.ts", "test/flows/**/*.test.ts"]
const simulation = "test/simulation/**/*.test.ts"
const ignored = ["**/node_modules/**", ".toolchain/**", ".holdfast/**", ".test/**"]
// Packages resolve as Node itself resolves them. Vite's own choice (`development`, `module`) would give a test one copy of graphql and
// the libraries under test another, whose instances are not each other's.
const ssr = { resolve: { conditions: ["module-sync", "node", "import", "default"] } }

export default defineConfig({
  test: {
    // Loading Effect anew for each file would take a third of the time; what files share then, modules, holds no state of a test.
    isolate: false,
    projects: [
      {
        ssr,
        test: {
          name: "unit",
          include: ["**/*.test.ts"],
          exclude: [...ignored, ...live, simulation],
          // Some start a process of their own, which takes seconds on a busy machine.
          testTimeout: 60_000,
          maxWorkers: 2
        }
      },
      {
        ssr,
        test: {
          name: "simulation",
          include: [simulation],
          exclude: ignored,
          testTimeout: 30_000,
          // It puts its own clock and chance in the place of the platform's: what another file has left running would draw from them.
          isolate: true,
          maxWorkers: 2
        }
      },
      {
        ssr,
        test: {
          name: "servers",
          include: live,
          exclude: ignored,
          // For machines several times slower: it only ends what hangs.
          testTimeout: 180_000,
          hookTimeout: 180_000,
          // One more than there are processors: most of these wait for something to be noticed.
          maxWorkers: 3
        }
      }
    ]
  }
})
