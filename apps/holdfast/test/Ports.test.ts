import { once } from "node:events"
import { createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import {
  checkPorts,
  listeningInodes,
  pickPrivatePort,
  portSentence,
  twice,
  type Wanted
} from "../src/supervisor/Ports.ts"

const wanted: Wanted = { port: 7400, variable: "HOLDFAST_COMMAND_PORT", serves: "commands" }

describe("a port that cannot be had", () => {
  it("is told with who has it and what to set", () => {
    assert.strictEqual(
      portSentence("127.0.0.1", wanted, "EADDRINUSE", "nginx (process 12)"),
      "Port 7400 (commands) is taken by nginx (process 12): stop that, or set HOLDFAST_COMMAND_PORT to a free port."
    )
  })

  it("is told without who has it where that is not known", () => {
    assert.include(portSentence("127.0.0.1", wanted, "EADDRINUSE", null), "another program")
  })

  it("names the host when the host is what is wrong", () => {
    assert.include(portSentence("10.9.9.9", wanted, "EADDRNOTAVAIL", null), "HOLDFAST_HOST")
  })

  it("is found before anything starts", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const server = createServer().listen(0, "127.0.0.1")
        yield* Effect.promise(() => once(server, "listening"))
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        const refusal = yield* Effect.flip(checkPorts("127.0.0.1", [{ ...wanted, port }]))
        server.close()
        assert.include(refusal.sentence, "HOLDFAST_COMMAND_PORT")
        assert.include(refusal.sentence, `Port ${port}`)
      })
    ))

  it("is two settings of the same number", () => {
    const sentences = twice([wanted, { ...wanted, variable: "HOLDFAST_GRPC_PORT" }])
    assert.deepStrictEqual(sentences, [
      "HOLDFAST_COMMAND_PORT and HOLDFAST_GRPC_PORT both say 7400: give each its own port."
    ])
  })
})

describe("who listens", () => {
  it("is read from the table of the kernel, listening sockets only", () => {
    const lines = [
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
      "   0: 0100007F:1CE8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1",
      "   1: 0100007F:1CE8 0100007F:A001 01 00000000:00000000 00:00000000 00000000     0        0 4712 1",
      "   2: 0100007F:1CE9 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1"
    ]
    assert.deepStrictEqual([...listeningInodes(lines.join("\n"), 7400)], ["4711"])
  })
})

describe("the private port of PostgreSQL", () => {
  it("is never one that an outgoing connection could be given", () =>
    Effect.runPromise(
      Effect.map(pickPrivatePort("127.0.0.1"), (port) => {
        assert.isAtLeast(port, 20_000)
        assert.isBelow(port, 30_000)
      })
    ))
})
