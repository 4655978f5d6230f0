// Other people's programs, which take every connection that a server has and keep taking those that come free.
import { connect, type Socket } from "node:net"
import type { ServerProcess } from "@holdfast/scripts/ServerProcess"

const atOnce = 16
const pauseMs = 20

export class Crowd {
  readonly #server: ServerProcess
  readonly #held = new Set<Socket>()
  #isTaking = true

  constructor(server: ServerProcess) {
    this.#server = server
  }

  /** Ends what the desk holds, too, until nothing is left for anybody: the one who ends it cannot get in either. */
  async takeEverything(endOthers: () => Promise<unknown>): Promise<void> {
    for (let taker = 0; taker < atOnce; taker++) void this.#takeAgainAndAgain()
    let isLeft = true
    while (isLeft)
      isLeft = await endOthers().then(
        () => true,
        () => false
      )
  }

  leave(): void {
    this.#isTaking = false
    for (const socket of this.#held) socket.destroy()
  }

  async #takeAgainAndAgain(): Promise<void> {
    while (this.#isTaking) {
      const wasGiven = await this.#take()
      if (!wasGiven) await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }

  #take(): Promise<boolean> {
    const { greeting, port } = this.#server.plan
    return new Promise((resolve) => {
      const socket = connect(port, "127.0.0.1", () => socket.write(greeting.send))
      this.#held.add(socket)
      socket.once("data", (answer) => resolve(answer[0] === greeting.expect[0]))
      socket.on("error", () => {})
      socket.on("close", () => {
        this.#held.delete(socket)
        resolve(false)
      })
    })
  }
}
