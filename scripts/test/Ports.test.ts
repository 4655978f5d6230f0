// A preferred port is taken when it is free, and never given twice.
import { once } from "node:events"
import { createServer } from "node:net"
import { describe, expect, it } from "vitest"
import { choosePort } from "../src/Ports.ts"

const listen = async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port")
  return { port: address.port, [Symbol.dispose]: () => server.close() }
}

describe("a port", () => {
  it("is another one when the preferred one is in use", async () => {
    using other = await listen()
    expect(await choosePort(other.port, new Set())).not.toBe(other.port)
  })

  it("is not promised twice", async () => {
    const taken = new Set<number>()
    const first = await choosePort(7599, taken)
    expect(await choosePort(first, taken)).not.toBe(first)
    expect(taken.size).toBe(2)
  })
})
