// The live page in a real browser, used as people use it: it shows what runs and what is new, a reply arrives once whatever is lost on the
// way, an upload goes on after every break, and it says truthfully what it cannot do and since when. One desk, one tab, one story.
import { randomBytes } from "node:crypto"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Page } from "@holdfast/testkit/Chromium"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { tooFaint } from "./Contrast.ts"
import { PageWorld } from "./PageWorld.ts"

const pass = { _tag: "Pass" } as const
const hang = { _tag: "Hang" } as const
const refuse = { _tag: "Refuse" } as const
const mebibyte = 1024 * 1024

const named = new Set(["button", "link", "textbox", "checkbox", "radio", "combobox", "progressbar", "group"])

describe("the page", { timeout: 180_000 }, () => {
  let world: PageWorld
  let page: Page
  let ticketId: string
  let folder: string
  let file: string

  const countOf = (text: string) =>
    page.evaluate<number>(
      `[...document.querySelectorAll("#messages .body")].filter((one) => one.textContent === ${JSON.stringify(text)}).length`
    )
  const write = async (text: string) => {
    await page.click("#text")
    await page.type(text)
  }
  /** Failures of the network are part of the story, and the browser always tells of them. */
  const complaints = (of: Page) =>
    of.complaints.filter((one) => !/^network:|net::ERR_|WebSocket connection to/.test(one))

  beforeAll(async () => {
    world = await PageWorld.start()
    folder = await mkdtemp(join(tmpdir(), "holdfast-page-"))
    file = join(folder, "disk.bin")
    await writeFile(file, randomBytes(20 * mebibyte))
    ticketId = await world.openTicket("The scanner hums")
    page = await world.browser.open(world.pageUrl)
  }, 180_000)
  afterAll(async () => {
    await world?.stop()
    await rm(folder, { recursive: true, force: true })
  }, 180_000)

  // What one story has broken is not the next one's.
  afterEach(() => world.mend())

  it("asks who is there, and keeps the token out of the address", async () => {
    await page.sees("#token-form", "Who are you?")
    await page.tabTo("#token")
    await page.type("nonsense")
    await page.press("Enter")
    await page.sees("#notice", "The token was refused.")
    await page.tabTo("#token")
    await page.type(world.agent)
    await page.press("Enter")
    await page.sees("#viewer", "Ada Agent, agent")
    // Another link in the same tab loads the page anew; what is asked before that is still answered by the old one.
    await page.evaluate("void (globalThis.old = true)")
    await page.visit(`${world.pageUrl}/#token=${world.agent}`)
    await page.until("the page is loaded anew", () => page.evaluate("globalThis.old === undefined"))
    await page.sees("#feed", "Live")
    expect(await page.evaluate<string>("location.href")).not.toContain(world.agent)
  })

  it("tells what runs", async () => {
    const shown = await page.sees("#board", /All 6 processes are well/)
    for (const name of [
      "command-api",
      "query-api",
      "realtime-gateway",
      "file-gateway",
      "event-worker",
      "file-worker"
    ]) {
      expect(shown).toContain(name)
    }
  })

  it("shows a new ticket by itself", async () => {
    await world.openTicket("Live from the branch office")
    await page.sees("#tickets li:first-child", "Live from the branch office")
  })

  it("is used by keyboard alone: a ticket opened, a reply written, a note added", async () => {
    await page.tabTo(`#tickets a[href="#ticket/${ticketId}"]`)
    await page.press("Enter")
    await page.sees("#ticket-title", "The scanner hums")
    await page.sees("#messages", "About: The scanner hums")
    await page.until("the ticket's title has the focus", () =>
      page.evaluate(`document.activeElement?.id === "ticket-title"`)
    )
    await page.tabTo("#text")
    await page.type("Does it hum in C or in D?")
    await page.press("Enter", { control: true })
    await page.sees("#messages", "Does it hum in C or in D?")
    await page.sees("#reply-state", "Saved.")
    await page.press("Tab", { shift: true })
    await page.press("ArrowRight")
    await page.sees("#send", "Add note")
    await page.tabTo("#text")
    await page.type("<b>C</b>, I bet.")
    await page.tabTo("#send")
    await page.press("Enter")
    await page.sees("#messages .note .body", "<b>C</b>, I bet.")
    await page.click('[name="audience"][value="public"]')
  })

  it("shows a reply from elsewhere as it comes", async () => {
    await world.reply(ticketId, "In D, definitely.")
    await page.sees("#messages", "In D, definitely.")
  })

  it("shows who else is there, and warns two who write at the same time", async () => {
    const other = await world.browser.open(`${world.pageUrl}/#token=${world.colleague}`)
    await other.click(`#tickets a[href="#ticket/${ticketId}"]`)
    await page.sees("#presence", "Kim Agent is here, too.")
    await other.click("#text")
    await other.type("I am on it")
    await page.sees("#presence", "Kim Agent is writing.")
    await write("So am I")
    // Who pauses for a few seconds no longer counts as writing: both go on until it is said.
    await page.until("both are warned", async () => {
      await other.type(".")
      await page.type(".")
      return (await page.text("#presence")).includes("You write at the same time")
    })
    await other.send("Page.close")
    await page.until("the colleague is gone", async () => (await page.text("#presence")) === "")
    await page.evaluate(`document.querySelector("#text").select()`)
    await page.press("Delete")
    await page.until("the text is gone", () => page.evaluate(`document.querySelector("#text").value === ""`))
  })

  it("tells what is for you, until you have read it", async () => {
    await world.assign(ticketId)
    await page.sees("#inbox", /unread[\s\S]*Kim Agent gave you #\d+ The scanner hums/)
    await page.click("#read-all")
    await page.sees("#inbox", "Nothing new.")
  })

  it("says so when it is cut off, and comes back without a gap", async () => {
    await world.set("realtime", refuse)
    await page.sees("#feed", /Cut off since .*, trying again/)
    await world.reply(ticketId, "Written while the page was cut off.")
    await world.set("realtime", pass)
    await page.sees("#feed", "Live")
    await page.sees("#messages", "Written while the page was cut off.")
    expect(await countOf("Written while the page was cut off.")).toBe(1)
  })

  it("saves a reply once though its answer is lost, and says what is not known meanwhile", async () => {
    const text = "Please unplug it."
    // The feed would tell what became of it.
    await world.set("realtime", hang)
    await world.set("command", { _tag: "LoseAnswers" })
    await write(text)
    await page.click("#send")
    await page.sees("#reply-state", "Nobody knows yet whether it is saved.")
    await page.until("the desk has it all the same", async () => (await world.messages(ticketId)).includes(text))
    expect(await page.evaluate("document.querySelector('#text').readOnly")).toBe(true)
    await world.set("command", pass)
    // By itself, or because the person asks: whichever is first.
    await page.click("#send")
    await page.sees("#reply-state", "Saved.")
    await page.sees("#feed", "Cut off")
    await world.set("realtime", pass)
    await page.sees("#feed", "Live")
    await page.sees("#messages", text)
    expect(await countOf(text)).toBe(1)
    expect((await world.messages(ticketId)).filter((one) => one === text)).toHaveLength(1)
  })

  it("keeps a refused text beside the reason", async () => {
    const closed = await world.openTicket("Over and done")
    await world.close(closed)
    await page.click(`#tickets a[href="#ticket/${closed}"]`)
    await page.sees("#facts", "closed")
    await write("One more thing")
    await page.click("#send")
    await page.sees("#reply-state", "Not saved. The ticket is closed; open a new one.")
    expect(await page.evaluate("document.querySelector('#text').value")).toBe("One more thing")
    await page.click(`#tickets a[href="#ticket/${ticketId}"]`)
    await page.sees("#ticket-title", "The scanner hums")
    expect(await page.evaluate("document.querySelector('#text').value")).toBe("")
    await page.click(`#tickets a[href="#ticket/${closed}"]`)
    await page.until("the text is there again", () =>
      page.evaluate("document.querySelector('#text').value === 'One more thing'")
    )
    await page.click(`#tickets a[href="#ticket/${ticketId}"]`)
    await page.sees("#ticket-title", "The scanner hums")
  })

  it("uploads through a cut, a pause and a reload, and shows the file's way to its release", async () => {
    // Each connection carries a tenth of it and breaks: it is seen waiting however slow the machine is.
    await world.set("file", { _tag: "CutAfter", bytes: 2 * mebibyte, direction: "toServer" })
    await page.choose("#file", [file])
    await page.sees("#uploads", /Waiting at [1-9]\d %/)
    await world.set("file", refuse)
    await page.click('#uploads [aria-label="Pause disk.bin"]')
    await page.sees("#uploads", /Paused at [1-9]\d %/)
    await page.click('#uploads [aria-label="Resume disk.bin"]')
    await page.sees("#uploads", /Waiting at [1-9]\d %/)
    await page.send("Page.reload")
    await page.sees("#uploads", /Broken off at [1-9]\d %. Choose the same file again to go on./)
    await world.set("file", pass)
    await page.choose("#file", [file])
    await page.sees("#files", /disk\.bin\s+released/)
    expect(await page.text("#uploads")).toBe("")
    expect(await page.text('[aria-label="Download disk.bin"]')).toBe("Download")
  })

  it("goes on while PostgreSQL is away: shows what it has, says since when, keeps texts and uploads, and heals", async () => {
    await page.sees("#feed", "Live")
    await world.hangPostgres()
    await write("Written while the database was away.")
    await page.click("#send")
    await page.sees("#reply-state", /^(Not saved|Nobody knows)/)
    await page.sees("#reply-away", /Writing is refused since \d.*: The database is away\./)
    await page.sees("#board", /command-api[\s\S]*database is down since \d/)
    await page.sees("#freshness", /The database is away: this is the copy of \d/)
    await page.sees("#feed", /Stale since \d/)
    expect(await page.text("#tickets")).toContain("Live from the branch office")
    expect(await page.text("#messages")).toContain("In D, definitely.")
    await page.click("#when-back")
    await page.sees("#reply-state", /It is sent as soon as the desk can write again|Asking again/)
    await writeFile(join(folder, "small.txt"), "Small, but not to be lost.")
    await page.choose("#file", [join(folder, "small.txt")])
    await page.sees("#uploads", "All of it is safe at the desk. Not attached yet:")
    await world.healPostgres()
    await page.sees("#messages", "Written while the database was away.")
    await page.sees("#files", /small\.txt\s+released/)
    await page.sees("#feed", "Live")
    await page.until("nothing is called away any more", () =>
      page.evaluate(
        `document.querySelector("#reply-away").hidden && document.querySelector("#freshness").textContent === ""`
      )
    )
    await page.sees("#board", /All 6 processes are well/)
    expect(await countOf("Written while the database was away.")).toBe(1)
  })

  it("is clear to everybody: names, landmarks, contrast in light and dark, 320 px, 200 % zoom", async () => {
    const tree = await page.accessibility()
    expect(tree.filter(({ name, role }) => named.has(role) && name === "")).toEqual([])
    await page.evaluate(`document.activeElement.blur(); document.querySelector("h1").focus()`)
    await page.tabTo(".skip")
    await page.press("Enter")
    expect(await page.evaluate("document.activeElement.id")).toBe("ticket")
    expect(await page.text("#ticket-title")).toContain("The scanner hums")
    const roles = new Set(tree.map(({ role }) => role))
    for (const role of ["banner", "navigation", "main", "complementary", "log", "status", "form"]) {
      expect(roles).toContain(role)
    }
    for (const scheme of ["light", "dark"]) {
      await page.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] })
      expect(await page.evaluate(tooFaint)).toEqual([])
    }
    for (const [width, deviceScaleFactor] of [
      [320, 1],
      [640, 2]
    ]) {
      await page.send("Emulation.setDeviceMetricsOverride", { width, height: 700, deviceScaleFactor, mobile: false })
      expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBeLessThanOrEqual(0)
      expect(await page.evaluate("document.querySelector('#close').checkVisibility()")).toBe(true)
    }
    await page.click("#close")
    await page.sees("#tickets", "The scanner hums")
    expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBeLessThanOrEqual(0)
  })

  it("shows a customer their own tickets, and nothing of the desk's inside", async () => {
    const other = await world.browser.open(`${world.pageUrl}/#token=${world.customer}`)
    await other.sees("#feed", "Live")
    await other.click(`#tickets a[href="#ticket/${ticketId}"]`)
    await other.sees("#messages", "Does it hum in C or in D?")
    expect(await other.text("#messages")).not.toContain("I bet.")
    expect(await other.text("#board")).toBe("")
    expect(await other.text("#reply fieldset")).toBe("")
    expect(complaints(other)).toEqual([])
  })

  it("says when its token's time is over, keeps what was written, and goes on with a fresh one", async () => {
    const other = await world.browser.open(`${world.pageUrl}/#token=${await world.briefToken()}`)
    await other.click(`#tickets a[href="#ticket/${ticketId}"]`)
    await other.click("#text")
    await other.type("Half a sentence")
    await other.sees("#notice", "The token's time is over. What you wrote is kept; give a fresh token to go on.")
    await other.click("#token")
    await other.type(world.agent)
    await other.press("Enter")
    await other.sees("#feed", "Live")
    await other.until("what was written is there", () =>
      other.evaluate(`document.querySelector("#text").value === "Half a sentence"`)
    )
    await world.reply(ticketId, "Still in D, by the way.")
    await other.sees("#messages", "Still in D, by the way.")
    expect(await other.text("#notice")).toBe("")
    expect(complaints(other)).toEqual([])
    await other.send("Page.close")
  })

  it("broke no policy and left no error in the console", () => {
    expect(complaints(page)).toEqual([])
  })

  it("is told the desk's doors as its visitor reaches them", async () => {
    const { port } = new URL(world.pageUrl)
    const doorsFor = async (headers: Readonly<Record<string, string>>) => {
      const response = await fetch(`${world.pageUrl}/page.json`, { headers })
      return (await response.json()) as Readonly<Record<string, string>>
    }
    expect(await doorsFor({})).toEqual({
      commandUrl: world.desk.url.command,
      realtimeUrl: world.desk.url.realtime,
      fileUrl: world.desk.url.file
    })
    expect(await doorsFor({ "x-forwarded-proto": "https" })).toEqual({
      commandUrl: `https://127.0.0.1:${port}`,
      realtimeUrl: `wss://127.0.0.1:${port}/graphql`,
      fileUrl: world.desk.url.file
    })
  })
})
