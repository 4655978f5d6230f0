// Who is there and who is gone: a socket's client says something now and then, a stream's client takes what it is sent.
import { expect, it } from "@effect/vitest"
import { Realtime } from "@holdfast/resilience/Limits"
import { Duration } from "effect"
import type { Closing } from "../src/Closing.ts"
import { Connection, type Transport } from "../src/Connection.ts"
import { agent } from "./Events.ts"

const connected = (expiresAtMs = Number.POSITIVE_INFINITY) => {
  const did: Array<string> = []
  let nowMs = 0
  let isOpen = true
  const end = (word: string) => {
    isOpen = false
    did.push(word)
  }
  const transport: Transport = {
    get isOpen() {
      return isOpen
    },
    bufferedBytes: 0,
    frame: () => (encoded) => ({ own: encoded, encoded }),
    send: () => did.push("send"),
    tell: () => did.push("tell"),
    close: ({ name }: Closing) => end(name),
    terminate: () => end("terminate")
  }
  const connection = new Connection(transport, { nowMs: () => nowMs, report: () => ({ state: "live" }) })
  connection.authenticated(agent, expiresAtMs)
  const pass = (duration: Duration.Duration) => {
    nowMs += Duration.toMillis(duration)
    connection.sweep(nowMs)
  }
  return { connection, did, pass }
}

it("a client that neither says nor takes anything for so long is gone", () => {
  const { did, pass } = connected()
  pass(Realtime.silenceMax)
  expect(did).toEqual(["terminate"])
})

it("one that takes what it is sent stays, without a word", () => {
  const { connection, did, pass } = connected()
  for (let count = 0; count < 10; count++) {
    pass(Realtime.pingInterval)
    connection.took()
  }
  expect(did).toEqual(Array.from({ length: 10 }, () => "tell"))
})

it("at its token's end it is told so once, and nothing more", () => {
  const { connection, did, pass } = connected(1_000)
  pass(Duration.seconds(1))
  pass(Duration.seconds(1))
  connection.ping()
  connection.send("late")
  expect(did).toEqual(["TOKEN_EXPIRED"])
})
