// What the command line of the test servers understands.
import { describe, expect, it } from "vitest"
import { parseStackArguments } from "../src/StackArguments.ts"

describe("the arguments of stack.ts", () => {
  it("start every server below the project by default", () => {
    expect(parseStackArguments(["up"], "/desk")).toEqual({
      action: "up",
      folder: "/desk/.test/servers",
      only: ["postgres", "rabbitmq", "redis", "clamd"],
      detach: false,
      json: false,
      untilInputEnds: false
    })
  })

  it("choose servers, folder and form", () => {
    const args = ["up", "--detach", "--json", "--only", "redis, clamd", "--folder", "/elsewhere"]
    expect(parseStackArguments(args, "/desk")).toMatchObject({
      folder: "/elsewhere",
      only: ["redis", "clamd"],
      detach: true,
      json: true
    })
  })

  it.each([[[]], [["sideways"]], [["up", "down"]]])("refuse %j with the words that are allowed", (args) => {
    expect(() => parseStackArguments(args, "/desk")).toThrow(/Say one of/)
  })

  it("refuse an unknown server by name", () => {
    expect(() => parseStackArguments(["up", "--only", "oracle"], "/desk")).toThrow(/no server "oracle"/)
  })

  it("refuse an unknown option", () => {
    expect(() => parseStackArguments(["up", "--fast"], "/desk")).toThrow(/--fast/)
  })
})
