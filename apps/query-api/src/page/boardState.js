// @ts-check
// What the processes say of themselves, in words. Pure.

/**
 * @typedef {{ dependency: string, state: string, since: string, detail: string | null }} Dependency
 * @typedef {{ name: string, state: string, since: string | null, dependencies: ReadonlyArray<Dependency> }} Process
 */

/** @param {ReadonlyArray<Process>} processes */
export const boardWords = (processes) => {
  const unwell = processes.filter(({ state }) => state !== "up").length
  if (processes.length === 0) return "Nobody was asked yet."
  return unwell === 0 ? `All ${processes.length} processes are well.` : `${unwell} of ${processes.length} are not well.`
}

/** Only what is not well. @param {Process} process @param {(instant: string) => string} clock */
export const troubleWords = ({ dependencies, since, state }, clock) => {
  if (state === "down") return since === null ? ["was not reached yet"] : ["does not answer"]
  return dependencies
    .filter((one) => one.state !== "up")
    .map((one) => {
      const detail = one.detail === null ? "" : ` (${one.detail})`
      return `${one.dependency} is ${one.state} since ${clock(one.since)}${detail}`
    })
}

/**
 * Since when writing is refused, as far as the desk says; null: it is not. Something that was written later than that says otherwise: a
 * dependency counts as down for a while after it is back.
 * @param {ReadonlyArray<Process>} processes @param {number} lastWrittenMs @returns {{ since: string, sentence: string } | null}
 */
export const writingAway = (processes, lastWrittenMs) => {
  const commands = processes.find(({ name }) => name === "command-api")
  if (commands === undefined || commands.since === null) return null
  const database = commands.dependencies.find(({ dependency, state }) => dependency === "database" && state === "down")
  const away =
    commands.state === "down"
      ? { since: commands.since, sentence: "The process that takes what is written does not answer." }
      : database && { since: database.since, sentence: "The database is away." }
  return away && Date.parse(away.since) > lastWrittenMs ? away : null
}
