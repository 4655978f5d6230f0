// What a person needs who must find out why a seed failed.
import type { Told } from "./Simulation.ts"

const linesShown = 150

export const describeFailure = ({ seed, trace, violation }: Told): string =>
  [
    `seed ${seed} broke a promise: ${violation?.message}`,
    `replay it with: HOLDFAST_SIMULATION_SEED=${seed} pnpm exec vitest run --project simulation test/simulation/lowerWorlds`,
    `the last ${Math.min(linesShown, trace.length)} of what happened, in milliseconds:`,
    ...trace.slice(-linesShown)
  ].join("\n")
