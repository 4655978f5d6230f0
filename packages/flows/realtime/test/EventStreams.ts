// An event stream read as a browser reads it: fields, blocks and comments, with what was not yet asked for kept.
import { request as httpRequest, type IncomingMessage } from "node:http"

export interface Block {
  readonly event: string | null
  readonly data: string | null
  readonly id: string | null
  readonly retry: string | null
  readonly comments: ReadonlyArray<string>
}

export interface Asked {
  readonly method?: string
  readonly token?: string | null
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON by POST unless it is a text. */
  readonly body?: unknown
}

export class StreamClient {
  readonly response: IncomingMessage
  /** The value of the last `id`, as a browser would send it again. */
  lastEventId = ""
  readonly #reading: AsyncIterator<Block>

  constructor(response: IncomingMessage) {
    this.response = response
    this.#reading = blocksOf(response)
  }

  get status(): number {
    return this.response.statusCode ?? 0
  }

  header(name: string): string {
    return String(this.response.headers[name] ?? "")
  }

  /** Null once it has ended. */
  async block(): Promise<Block | null> {
    const { done, value } = await this.#reading.next()
    if (done === true) return null
    this.lastEventId = value.id ?? this.lastEventId
    return value
  }

  /** The next event; comments are passed over. */
  async event(): Promise<{ readonly type: string; readonly data: unknown; readonly id: string | null } | null> {
    const block = await this.block()
    if (block === null) return null
    if (block.event === null) return this.event()
    return {
      type: block.event,
      id: block.id,
      data: block.data === "" || block.data === null ? null : JSON.parse(block.data)
    }
  }

  async positions(count: number): Promise<ReadonlyArray<unknown>> {
    const positions: Array<unknown> = []
    while (positions.length < count) {
      const event = await this.event()
      if (event === null) return [...positions, "ended"]
      positions.push(Number(event.id))
    }
    return positions
  }

  /** Everything that is still said, as text. */
  async rest(): Promise<ReadonlyArray<Block>> {
    const blocks: Array<Block> = []
    for (;;) {
      const block = await this.block()
      if (block === null) return blocks
      blocks.push(block)
    }
  }

  async json(): Promise<unknown> {
    const chunks: Array<Buffer> = []
    for await (const chunk of this.response) chunks.push(Buffer.from(chunk))
    return JSON.parse(Buffer.concat(chunks).toString())
  }

  cut(): void {
    this.response.destroy()
  }
}

export const ask = (url: string, { body, headers = {}, method, token = null }: Asked): Promise<StreamClient> =>
  new Promise((resolve, reject) => {
    const isPost = body !== undefined
    const request = httpRequest(url, {
      method: method ?? (isPost ? "POST" : "GET"),
      headers: {
        accept: "text/event-stream",
        ...(isPost ? { "content-type": "application/json" } : {}),
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...headers
      }
    })
    request.once("response", (response) => resolve(new StreamClient(response)))
    request.once("error", reject)
    request.end(isPost ? (typeof body === "string" ? body : JSON.stringify(body)) : undefined)
  })

const blocksOf = async function* (response: IncomingMessage): AsyncGenerator<Block> {
  let text = ""
  try {
    for await (const chunk of response.setEncoding("utf8")) {
      text += chunk
      const blocks = text.split("\n\n")
      text = blocks.pop() ?? ""
      yield* blocks.map(blockOf)
    }
  } catch {
    // The line was cut: then it has ended.
  }
}

const blockOf = (text: string): Block => {
  const fields = text.split("\n").map((line) => /^([a-z]*): ?(.*)$/.exec(line))
  const valueOf = (name: string) => fields.find((field) => field?.[1] === name)?.[2] ?? null
  return {
    event: valueOf("event"),
    data: valueOf("data"),
    id: valueOf("id"),
    retry: valueOf("retry"),
    comments: fields.flatMap((field) => (field?.[1] === "" ? [field[2] ?? ""] : []))
  }
}
