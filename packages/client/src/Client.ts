// The typed client: everything that a program does at the desk, with outcomes as values. See README.md. Nothing here or below imports from
// Node, so a page may bundle it; what only Node has (the file store) stands in a file of its own.
import type { CommandName } from "@holdfast/contracts/Commands"
import { type CommandOptions, type CommandOutcome, type Commands, makeCommands } from "./Commands.ts"
import { type ClientOptions, makeDesk } from "./Desk.ts"
import { makeFeeds } from "./Feeds.ts"
import { makeLine } from "./Line.ts"
import { makePresence } from "./Presence.ts"
import { type Ask, makeQueries, makeQuery } from "./Queries.ts"
import type { Timing } from "./Timing.ts"
import { startUpload, type Upload, type UploadMemory, type UploadOptions, type UploadSource } from "./Uploads.ts"

export interface Client {
  readonly commands: Commands
  /** A command that is known by name only, such as one that was stored. */
  readonly send: (
    name: CommandName,
    payload: unknown,
    options?: CommandOptions
  ) => Promise<CommandOutcome<{ readonly _tag: string }>>
  readonly queries: ReturnType<typeof makeQueries>
  /** Any document of the desk's schema, decoded by yours. */
  readonly query: Ask
  readonly feeds: ReturnType<typeof makeFeeds>
  /** Who is on a ticket, and saying that you write. */
  readonly presence: ReturnType<typeof makePresence>
  /** Begins at once; `memory` lets it go on where another process left it. */
  readonly upload: (source: UploadSource, options: UploadOptions, memory?: UploadMemory) => Upload
  readonly timing: Timing
  /** Closes the socket. Feeds that still run would open it again: stop them first. */
  readonly close: () => void
}

export const createClient = (options: ClientOptions): Client => {
  const desk = makeDesk(options)
  const line = makeLine(desk)
  const commands = makeCommands(desk)
  const query = makeQuery(desk)
  const queries = makeQueries(query)
  return {
    commands,
    send: (name, payload, sending) => commands[name](payload, sending),
    queries,
    query,
    feeds: makeFeeds(desk, line, queries),
    presence: makePresence(desk, line),
    upload: (source, uploading, memory) => startUpload(desk, source, uploading, memory),
    timing: desk.timing,
    close: line.close
  }
}
