// A TCP proxy that breaks a connection in any way a network or a server can, on command, so that a test decides what fails and when.
// A fault holds for connections under way and for new ones until the next is set. Nothing is random.
import { createServer, type Server, Socket } from "node:net"
import { Duration, Effect, type Scope } from "effect"

export type Direction = "toServer" | "toClient"

export type Fault =
  /** Everything goes through. */
  | { readonly _tag: "Pass" }
  /** Connections are accepted and stay, and nothing moves; what was sent meanwhile arrives once it passes again. */
  | { readonly _tag: "Hang" }
  /** As `Hang`, in this direction only: one side is heard and hears nothing. */
  | { readonly _tag: "Partition"; readonly direction: Direction }
  /** Nobody listens; connections under way are reset. */
  | { readonly _tag: "Refuse" }
  /** Connections are accepted and reset at once. */
  | { readonly _tag: "Reset" }
  /** Each piece of data, in both directions, waits this long. */
  | { readonly _tag: "Delay"; readonly duration: Duration.Duration }
  /** Each connection is reset once so many more bytes went in this direction. */
  | { readonly _tag: "CutAfter"; readonly bytes: number; readonly direction: Direction }
  /** The server gets every request; the answer is lost and the connection reset. Was it done? The client cannot know. */
  | { readonly _tag: "LoseAnswers" }

export interface FaultProxy {
  readonly port: number
  /** The given URL, led through this proxy. */
  through(url: string): string
  set(fault: Fault): Effect.Effect<void>
  /** Under way now. */
  readonly connections: () => number
  /** Ever accepted. */
  readonly accepted: () => number
}

export interface FaultTarget {
  readonly host: string
  readonly port: number
}

export const targetOf = (url: string): FaultTarget => {
  const { hostname, port } = new URL(url)
  return { host: hostname, port: Number(port) }
}

/** Passes everything until told otherwise; gone with the scope. Listens on any free port unless one is given. */
export const faultProxy = (target: FaultTarget, port = 0): Effect.Effect<FaultProxy, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => Proxy.start(target, port)),
      (proxy) => Effect.promise(() => proxy.stop())
    ),
    (proxy) => ({
      port: proxy.port,
      through: (url) => {
        const led = new URL(url)
        led.hostname = "127.0.0.1"
        led.port = String(proxy.port)
        return led.href
      },
      set: (fault) => Effect.promise(() => proxy.set(fault)),
      connections: () => proxy.pipes.size,
      accepted: () => proxy.accepted
    })
  )

class Proxy {
  port: number
  accepted = 0
  fault: Fault = { _tag: "Pass" }
  readonly pipes = new Set<Pipe>()
  readonly #target: FaultTarget
  readonly #server: Server

  constructor(target: FaultTarget, port: number) {
    this.#target = target
    this.port = port
    this.#server = createServer((client) => this.#accept(client))
  }

  static async start(target: FaultTarget, port: number): Promise<Proxy> {
    const proxy = new Proxy(target, port)
    await proxy.#listen()
    return proxy
  }

  async set(fault: Fault): Promise<void> {
    this.fault = fault
    if (fault._tag === "Refuse") await this.#close()
    else if (!this.#server.listening) await this.#listen()
    for (const pipe of this.pipes) pipe.apply(fault)
  }

  async stop(): Promise<void> {
    for (const pipe of this.pipes) pipe.reset()
    await this.#close()
  }

  #accept(client: Socket): void {
    this.accepted++
    const pipe = new Pipe(client, this.#target, () => this.pipes.delete(pipe))
    this.pipes.add(pipe)
    pipe.apply(this.fault)
  }

  #listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject)
      this.#server.listen(this.port, "127.0.0.1", () => {
        this.#server.off("error", reject)
        const address = this.#server.address()
        if (typeof address === "object" && address !== null) this.port = address.port
        resolve()
      })
    })
  }

  #close(): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#server.listening) return resolve()
      this.#server.close(() => resolve())
      for (const pipe of this.pipes) pipe.reset()
    })
  }
}

/** One connection: a client, the server, and what happens to each piece of data between them. */
class Pipe {
  #fault: Fault = { _tag: "Pass" }
  #left = 0
  readonly #client: Socket
  readonly #server = new Socket()

  constructor(client: Socket, target: FaultTarget, onEnd: () => void) {
    this.#client = client
    this.#server.connect(target.port, target.host)
    this.#relay(this.#client, this.#server, "toServer")
    this.#relay(this.#server, this.#client, "toClient")
    client.once("close", onEnd)
  }

  apply(fault: Fault): void {
    this.#fault = fault
    if (fault._tag === "CutAfter") this.#left = fault.bytes
    if (fault._tag === "Reset" || fault._tag === "Refuse") this.reset()
    for (const [socket, direction] of [
      [this.#client, "toServer"],
      [this.#server, "toClient"]
    ] as const) {
      if (this.#holds(direction)) socket.pause()
      else socket.resume()
    }
  }

  reset(): void {
    this.#client.resetAndDestroy()
    this.#server.destroy()
  }

  #relay(from: Socket, to: Socket, direction: Direction): void {
    from.on("data", (chunk: Buffer) => this.#forward(from, to, direction, chunk))
    from.on("end", () => to.end())
    // Either end may break; the other one then learns of it in the way it would from a network.
    from.on("error", () => this.reset())
    from.on("close", () => to.destroySoon())
    to.on("drain", () => this.#holds(direction) || from.resume())
  }

  #forward(from: Socket, to: Socket, direction: Direction, chunk: Buffer): void {
    const fault = this.#fault
    switch (fault._tag) {
      case "Delay":
        from.pause()
        setTimeout(() => {
          to.write(chunk)
          if (!this.#holds(direction)) from.resume()
        }, Duration.toMillis(fault.duration))
        return
      case "CutAfter":
        if (fault.direction !== direction || chunk.length < this.#left) break
        to.write(chunk.subarray(0, this.#left), () => this.reset())
        return
      case "LoseAnswers":
        if (direction === "toServer") break
        this.reset()
        return
      default:
        break
    }
    if (fault._tag === "CutAfter" && fault.direction === direction) this.#left -= chunk.length
    if (!to.write(chunk)) from.pause()
  }

  #holds(direction: Direction): boolean {
    const fault = this.#fault
    return fault._tag === "Hang" || (fault._tag === "Partition" && fault.direction === direction)
  }
}
