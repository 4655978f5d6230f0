// A real browser for a test: Debian's Chromium without a window, driven over the DevTools protocol by a pipe. A test acts as a person does,
// by keys and clicks that the browser itself dispatches, and sees what a person is given: text, the accessibility tree, what the console
// says. No sandbox: tests run as root in containers, and open nothing but the page under test.
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Readable, Writable } from "node:stream"
import { setTimeout as pause } from "node:timers/promises"

// About 150 s: it only ends what hangs, on machines several times slower, too.
const untilAttemptsMax = 3_000
const untilPauseMs = 50
const program = "chromium"

export interface ChromiumOptions {
  /** Where connections to `host:port` really go, such as through a proxy that breaks them. */
  readonly reroute?: Readonly<Record<string, string>>
}

export interface Chromium {
  /** A tab with storage of its own, as another person's browser has. */
  readonly open: (url: string) => Promise<Page>
  readonly stop: () => Promise<void>
}

type Parameters = Readonly<Record<string, unknown>>
type Answer = Readonly<Record<string, unknown>>
type Send = (method: string, parameters?: Parameters) => Promise<Answer>

export const startChromium = async ({ reroute = {} }: ChromiumOptions = {}): Promise<Chromium> => {
  const profile = await mkdtemp(join(tmpdir(), "holdfast-chromium-"))
  const rules = Object.entries(reroute).map(([from, to]) => `MAP ${from} ${to}`)
  const child = spawn(
    program,
    [
      ...["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"],
      "--window-size=1280,900",
      ...["--disable-background-networking", "--disable-component-update", "--disable-extensions"],
      ...[`--user-data-dir=${profile}`, `--host-resolver-rules=${rules.join(",")}`],
      ...["--remote-debugging-pipe", "about:blank"]
    ],
    { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] }
  )
  const line = new Line(child)
  return {
    open: async (url) => {
      const { browserContextId } = await line.send("Target.createBrowserContext")
      const { targetId } = await line.send("Target.createTarget", { url: "about:blank", browserContextId })
      const { sessionId } = await line.send("Target.attachToTarget", { targetId, flatten: true })
      return Page.open(line, String(sessionId), url)
    },
    stop: async () => {
      child.kill("SIGKILL")
      await line.ended
      await rm(profile, { recursive: true, force: true, maxRetries: 5 })
    }
  }
}

interface Message {
  readonly id?: number
  readonly method?: string
  readonly sessionId?: string
  readonly params?: Answer
  readonly result?: Answer
  readonly error?: { readonly message: string }
}

/** Messages in both directions, each ended by a zero byte. */
class Line {
  readonly ended: Promise<void>
  readonly #out: Writable
  readonly #waiting = new Map<number, PromiseWithResolvers<Answer>>()
  readonly #listeners = new Set<(message: Message) => void>()
  #ids = 0

  constructor(child: ChildProcess) {
    const [, , , out, incoming] = child.stdio
    this.#out = out as Writable
    this.#out.on("error", () => undefined)
    this.#read(incoming as Readable)
    this.ended = new Promise((resolve) => {
      child.once("close", () => {
        for (const { reject } of this.#waiting.values()) reject(new Error("Chromium has ended"))
        resolve()
      })
    })
  }

  send(method: string, params: Parameters = {}, sessionId?: string): Promise<Answer> {
    const id = ++this.#ids
    const answer = Promise.withResolvers<Answer>()
    this.#waiting.set(id, answer)
    this.#out.write(`${JSON.stringify({ id, method, params, sessionId })}\0`)
    return answer.promise
  }

  onMessage(listener: (message: Message) => void): void {
    this.#listeners.add(listener)
  }

  #read(incoming: Readable): void {
    let text = ""
    incoming.setEncoding("utf8")
    incoming.on("data", (chunk: string) => {
      const parts = (text + chunk).split("\0")
      text = parts.pop() ?? ""
      for (const part of parts) this.#receive(JSON.parse(part))
    })
  }

  #receive(message: Message): void {
    const answer = this.#waiting.get(message.id ?? 0)
    if (answer === undefined) {
      for (const listener of this.#listeners) listener(message)
      return
    }
    this.#waiting.delete(message.id ?? 0)
    if (message.error === undefined) answer.resolve(message.result ?? {})
    else answer.reject(new Error(message.error.message))
  }
}

// What a command is told whose page went away meanwhile.
const falseWhileLeaving = (error: Error): boolean => {
  if (/navigated|context/i.test(error.message)) return false
  throw error
}

export interface AxNode {
  readonly role: string
  readonly name: string
}

const keys: Readonly<Record<string, { readonly code: number; readonly text?: string }>> = {
  Tab: { code: 9 },
  Enter: { code: 13, text: "\r" },
  Space: { code: 32, text: " " },
  Delete: { code: 46 },
  ArrowDown: { code: 40 },
  ArrowRight: { code: 39 }
}

export interface KeyOptions {
  readonly shift?: boolean
  readonly control?: boolean
}

export class Page {
  /** What the console was told as an error, what was thrown, and each breach of the page's policy. */
  readonly complaints: Array<string> = []
  readonly send: Send

  private constructor(line: Line, sessionId: string) {
    this.send = (method, parameters) => line.send(method, parameters, sessionId)
    line.onMessage((message) => {
      if (message.sessionId === sessionId) this.#heard(message)
    })
  }

  static async open(line: Line, sessionId: string, url: string): Promise<Page> {
    const page = new Page(line, sessionId)
    for (const domain of ["Page", "Runtime", "Log", "Audits", "DOM", "Accessibility"])
      await page.send(`${domain}.enable`)
    await page.visit(url)
    return page
  }

  async visit(url: string): Promise<void> {
    await this.send("Page.navigate", { url })
  }

  /** What an expression gives in the page. */
  async evaluate<A>(expression: string): Promise<A> {
    const answer = await this.send("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true })
    const { exceptionDetails, result } = answer as {
      readonly exceptionDetails?: { readonly exception?: { readonly description?: string } }
      readonly result: { readonly value: A }
    }
    if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception?.description ?? expression)
    return result.value
  }

  /** The text that is shown in the first element that fits. */
  text(selector: string): Promise<string> {
    // An element that is hidden gives its `innerText` all the same.
    return this.evaluate(
      `((found) => (found?.checkVisibility() ? found.innerText : ""))(document.querySelector(${JSON.stringify(selector)}))`
    )
  }

  /** Waits until the text fits; says what it was instead. */
  async sees(selector: string, wanted: RegExp | string): Promise<string> {
    let text = ""
    await this.until(`${selector} shows ${wanted}`, async () => {
      text = await this.text(selector)
      return typeof wanted === "string" ? text.includes(wanted) : wanted.test(text)
    }).catch((error: Error) => {
      throw new Error(`${error.message}; it shows ${JSON.stringify(text)}`)
    })
    return text
  }

  /** Asks again until it holds. While the page is on its way to another, nothing does. */
  async until(sentence: string, holds: () => Promise<boolean>): Promise<void> {
    for (let attempt = 0; attempt < untilAttemptsMax; attempt++) {
      if (await holds().catch(falseWhileLeaving)) return
      await pause(untilPauseMs)
    }
    throw new Error(`waited in vain until ${sentence}`)
  }

  /** Clicks in the middle of what is shown there, as a pointer does. */
  async click(selector: string): Promise<void> {
    await this.until(`${selector} is shown`, () =>
      this.evaluate(`document.querySelector(${JSON.stringify(selector)})?.checkVisibility() ?? false`)
    )
    const [x, y] = await this.evaluate<[number, number]>(`(() => {
      const found = document.querySelector(${JSON.stringify(selector)})
      found.scrollIntoView({ block: "center" })
      const { left, top, width, height } = found.getBoundingClientRect()
      return [left + width / 2, top + height / 2]
    })()`)
    for (const type of ["mousePressed", "mouseReleased"]) {
      await this.send("Input.dispatchMouseEvent", { type, x, y, button: "left", clickCount: 1 })
    }
  }

  async type(text: string): Promise<void> {
    await this.send("Input.insertText", { text })
  }

  async press(key: string, { control = false, shift = false }: KeyOptions = {}): Promise<void> {
    const { code, text } = keys[key] ?? { code: 0 }
    const modifiers = (control ? 2 : 0) + (shift ? 8 : 0)
    const known = { key: key === "Space" ? " " : key, code: key, windowsVirtualKeyCode: code, modifiers }
    await this.send("Input.dispatchKeyEvent", {
      type: text === undefined || control ? "rawKeyDown" : "keyDown",
      ...known,
      ...(text === undefined || control ? {} : { text })
    }).catch(falseWhileLeaving)
    // A key that leaves the page is let go when that page may be gone already.
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...known }).catch(falseWhileLeaving)
  }

  /** Presses Tab until this element has the focus, as somebody without a pointer does. */
  async tabTo(selector: string, stepsMax = 60): Promise<void> {
    for (let step = 0; step < stepsMax; step++) {
      if (await this.evaluate(`document.activeElement?.matches(${JSON.stringify(selector)}) ?? false`)) return
      await this.press("Tab")
    }
    throw new Error(`${selector} cannot be reached with the Tab key`)
  }

  /** Chooses files in a file field. */
  async choose(selector: string, files: ReadonlyArray<string>): Promise<void> {
    const { root } = (await this.send("DOM.getDocument")) as { readonly root: { readonly nodeId: number } }
    const { nodeId } = await this.send("DOM.querySelector", { nodeId: root.nodeId, selector })
    await this.send("DOM.setFileInputFiles", { nodeId, files })
  }

  /** What assistive technology is given. */
  async accessibility(): Promise<ReadonlyArray<AxNode>> {
    const { nodes } = (await this.send("Accessibility.getFullAXTree")) as {
      readonly nodes: ReadonlyArray<{
        readonly ignored: boolean
        readonly role?: { readonly value: string }
        readonly name?: { readonly value: string }
      }>
    }
    return nodes
      .filter(({ ignored }) => !ignored)
      .map(({ name, role }) => ({ role: role?.value ?? "", name: name?.value ?? "" }))
  }

  async screenshot(): Promise<Buffer> {
    const { data } = await this.send("Page.captureScreenshot", { captureBeyondViewport: true })
    return Buffer.from(String(data), "base64")
  }

  #heard({ method, params }: Message): void {
    const told = params as {
      readonly entry?: { readonly level: string; readonly source: string; readonly text: string; readonly url?: string }
      readonly exceptionDetails?: { readonly text: string; readonly exception?: { readonly description?: string } }
      readonly type?: string
      readonly args?: ReadonlyArray<{ readonly value?: unknown; readonly description?: string }>
      readonly issue?: { readonly code: string; readonly details: unknown }
    }
    if (method === "Log.entryAdded" && told.entry?.level === "error") {
      this.complaints.push(`${told.entry.source}: ${told.entry.text} ${told.entry.url ?? ""}`.trim())
    }
    if (method === "Runtime.exceptionThrown") {
      this.complaints.push(told.exceptionDetails?.exception?.description ?? told.exceptionDetails?.text ?? "thrown")
    }
    if (method === "Runtime.consoleAPICalled" && told.type === "error") {
      this.complaints.push((told.args ?? []).map(({ description, value }) => description ?? String(value)).join(" "))
    }
    if (method === "Audits.issueAdded" && told.issue?.code === "ContentSecurityPolicyIssue") {
      this.complaints.push(`policy: ${JSON.stringify(told.issue.details)}`)
    }
  }
}
