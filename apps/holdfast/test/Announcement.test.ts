import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import { announcementJson, announcementText, curl } from "../src/supervisor/Announcement.ts"

const admin = {
  token: Redacted.make("a.b.c"),
  statusPage: "http://127.0.0.1:7410/",
  commandUrl: "http://127.0.0.1:7400",
  commandId: "01890000-0000-7000-8000-000000000000"
}
const told = {
  addresses: [{ name: "command-api", serves: "commands", url: "http://127.0.0.1:7400" }],
  standIns: [["database", "its own"]] as const,
  readySeconds: 9.87,
  logs: "/data/logs",
  admin
}

describe("what a person reads when the desk is ready", () => {
  it("ends with a status page and a command to paste", () => {
    const text = announcementText(told)
    assert.include(text, "ready after 9.9 s")
    assert.include(text, "http://127.0.0.1:7410/#token=a.b.c")
    assert.isTrue(text.endsWith(curl(admin)))
  })

  it("says where tokens come from when the desk does not make them", () => {
    assert.include(announcementText({ ...told, admin: undefined }), "HOLDFAST_JWKS")
  })

  it("is one line of JSON for machines", () => {
    const json = announcementJson(told)
    assert.notInclude(json, "\n".repeat(1).concat("{"))
    assert.strictEqual(JSON.parse(json).adminToken, "a.b.c")
  })
})
