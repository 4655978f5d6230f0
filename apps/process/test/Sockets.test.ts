// What a process inherits: from `holdfast up` by its own variable, from systemd by the protocol of socket activation.
import { describe, expect, it } from "@effect/vitest"
import { socketsIn } from "../src/Sockets.ts"

const inherited = (env: Record<string, string>) => socketsIn(env, 77).map(({ fd, name }) => `${name}:${fd}`)

describe("inherited sockets", () => {
  it("none by default", () => expect(inherited({})).toEqual([]))

  it("those that the supervisor names, one as often as it is named", () =>
    expect(inherited({ HOLDFAST_SOCKETS: "health:4,http:5,http:6,grpc:7" })).toEqual([
      "health:4",
      "http:5",
      "http:6",
      "grpc:7"
    ]))

  it("those that systemd names", () =>
    expect(inherited({ LISTEN_PID: "77", LISTEN_FDS: "2", LISTEN_FDNAMES: "http:grpc" })).toEqual(["http:3", "grpc:4"]))

  it("not those that systemd meant for another process", () =>
    expect(inherited({ LISTEN_PID: "76", LISTEN_FDS: "1", LISTEN_FDNAMES: "http" })).toEqual([]))

  it("not more than systemd counts, and nothing that is no pair", () => {
    expect(inherited({ LISTEN_PID: "77", LISTEN_FDS: "1", LISTEN_FDNAMES: "http:grpc" })).toEqual(["http:3"])
    expect(inherited({ HOLDFAST_SOCKETS: "http:x,,grpc:9" })).toEqual(["grpc:9"])
  })
})
