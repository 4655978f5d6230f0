// A whole desk for a bench, by `holdfast up` on the private real servers, as an operator runs it: with its supervisor, its priorities and without
// a collector of traces, which would do half of the work of the machine.
import { join } from "node:path"
import { query, until } from "../flows/Clients.ts"
import { type Desk, startDesk } from "../flows/Desk.ts"
import { tokenOf } from "./UploadServers.ts"

export interface BenchDesk {
  readonly desk: Desk
  /** Of so many agents: a person may send 1 200 commands a minute. */
  readonly agents: ReadonlyArray<string>
  readonly customers: ReadonlyArray<string>
}

export const startBenchDesk = async (
  people: { readonly agents: number; readonly customers: number },
  environment: Readonly<Record<string, string>> = {}
) => {
  const desk = await startDesk("servers", {
    environment: { HOLDFAST_OTLP_URL: undefined, HOLDFAST_WEBHOOKS: undefined, ...environment }
  })
  const keys = join(desk.dataDir, "keys")
  const tokens = (count: number, role: "agent" | "customer") =>
    Promise.all(Array.from({ length: count }, (_, index) => tokenOf(keys, `${role}-${index}`, role)))
  const started: BenchDesk = {
    desk,
    agents: await tokens(people.agents, "agent"),
    customers: await tokens(people.customers, "customer")
  }
  return started
}

interface FileAnswer {
  readonly file: { readonly state: string; readonly downloadUrl: string | null } | null
}

/** Its link, once it is released; fails when it is not going to be. */
export const released = ({ agents: [agent = ""], desk }: BenchDesk, fileId: string): Promise<string> =>
  until(`file ${fileId} is released`, async () => {
    const text = "query($id: ID!) { file(id: $id) { state downloadUrl } }"
    const { data } = await query<FileAnswer>(desk, agent, text, { id: fileId })
    if (data.file?.state === "rejected" || data.file?.state === "parked") throw new Error(`it is ${data.file.state}`)
    return data.file?.downloadUrl ?? null
  })
