// What the processes say, in words; and the page's small words for times, sizes and ids.
import { describe, expect, it } from "vitest"
import { boardWords, type Process, troubleWords, writingAway } from "../src/page/boardState.js"
import { uuidV7 } from "../src/page/ids.js"
import { clock, size } from "../src/page/words.js"

const at = (second: number) => new Date(second * 1000).toISOString()
const up: Process = { name: "query-api", state: "up", since: at(1), dependencies: [] }
const database = { dependency: "database", state: "down", since: at(5), detail: "it does not answer" }
const commands = (state: string, dependencies: Process["dependencies"] = []): Process => ({
  ...{ name: "command-api", state, since: at(4), dependencies }
})

describe("the board", () => {
  it("counts who is not well, and says what and since when", () => {
    expect(boardWords([up, commands("up")])).toBe("All 2 processes are well.")
    expect(boardWords([up, commands("degraded", [database])])).toBe("1 of 2 are not well.")
    const sentences = troubleWords(commands("degraded", [database, { ...database, state: "up" }]), () => "noon")
    expect(sentences).toEqual(["database is down since noon (it does not answer)"])
    expect(troubleWords(commands("down"), () => "noon")).toEqual(["does not answer"])
  })

  it("knows since when writing is refused", () => {
    expect(writingAway([up, commands("up")], 0)).toBeNull()
    expect(writingAway([up, commands("degraded", [database])], 0)?.since).toBe(at(5))
    expect(writingAway([up, commands("down")], 0)?.since).toBe(at(4))
    expect(writingAway([up, commands("degraded", [{ ...database, state: "degraded" }])], 0)).toBeNull()
  })

  it("does not call writing refused when something was written later", () => {
    expect(writingAway([commands("degraded", [database])], 6000)).toBeNull()
    expect(writingAway([commands("degraded", [database])], 4000)).not.toBeNull()
  })
})

describe("words", () => {
  it("tell the time alone today, and the day before that", () => {
    const noon = new Date(2026, 4, 5, 12, 0, 0).getTime()
    expect(clock(noon, noon)).not.toMatch(/5/)
    expect(clock(noon, noon + 86_400_000)).toMatch(/5/)
    expect(clock(null, noon)).toBe("")
  })

  it("tell sizes as people do", () => {
    expect([0, 1023, 1536, 20 * 1024 ** 2].map(size)).toEqual(["0 B", "1023 B", "1.5 KiB", "20 MiB"])
  })

  it("make ids that sort by time and that the desk takes", () => {
    const id = uuidV7(0x0192_3456_789a, new Uint8Array(16).fill(0xff))
    expect(id).toBe("01923456-789a-7fff-bfff-ffffffffffff")
  })
})
