// What stands behind the others does so, as far as this system offers the means; everything else is started as it always was.
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"
import { fileGateway, fleet } from "../src/Fleet.ts"
import { inPlace, meansHere, placeOf } from "../src/supervisor/Priority.ts"

const run = promisify(execFile)

/** The kernel's number of the scheduling class `batch`. */
const batch = 3

const script = `
  const { getPriority } = require("node:os")
  const { existsSync, readFileSync } = require("node:fs")
  const stat = existsSync("/proc/self/stat") ? readFileSync("/proc/self/stat", "utf8") : ""
  const policy = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[38])
  console.log(JSON.stringify({ niceness: getPriority(), policy }))
`

const unitOf = (name: string): string =>
  readFileSync(new URL(`../../../deploy/systemd/holdfast@${name}.service.d/priority.conf`, import.meta.url), "utf8")

describe("places", () => {
  it("are behind the others for the processes that carry files, and for no other", () => {
    const behind = fleet.filter(({ name }) => placeOf(name) !== null)
    expect(behind.map(({ name }) => name)).toEqual(["file-gateway", "file-worker"])
  })

  it("leave the command of everybody else alone", async () => {
    expect(await inPlace(null, ["node", "main.ts"])).toEqual(["node", "main.ts"])
  })

  it("are what the process and all it starts get", async () => {
    const has = new Set((await meansHere()).map(({ program }) => program))
    const place = placeOf("file-worker")
    const [file, ...args] = await inPlace(place, [process.execPath, "-e", script])
    const told = JSON.parse((await run(file, args)).stdout)
    const usual = JSON.parse((await run(process.execPath, ["-e", script])).stdout)
    const niceness = Math.min(19, usual.niceness + (has.has("nice") ? (place?.niceness ?? 0) : 0))
    expect(told.niceness).toBe(niceness)
    if (has.has("chrt")) expect(told.policy).toBe(batch)
  })

  it("come with the flags that Node is given, also in the unit of systemd", () => {
    expect(fileGateway.nodeFlags).toHaveLength(1)
    expect(unitOf(fileGateway.name)).toContain(`\nEnvironment=NODE_OPTIONS=${fileGateway.nodeFlags[0]}\n`)
  })

  it("are the same in the units of systemd", () => {
    for (const name of ["file-gateway", "file-worker"]) {
      const unit = unitOf(name)
      const place = placeOf(name)
      expect(unit).toContain(`\nNice=${place?.niceness}\n`)
      expect(unit).toContain(`\nIOSchedulingPriority=${place?.diskLevel}\n`)
      expect(unit).toContain("\nCPUSchedulingPolicy=batch\n")
    }
  })
})
