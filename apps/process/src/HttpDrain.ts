// How an HTTP server ends without failing a request. It stops accepting at once; every answer from then on asks its client for another
// connection; connections that are merely kept open have a short grace in which a request that is already on its way is still answered;
// then they are ended, and what is under way has its own deadline. A client that sends into a connection in the very moment in which it
// is ended sees it closed without an answer: HTTP has no way around that, so the grace makes it as good as never. Event streams are not
// waited for.
import type { Server, ServerResponse } from "node:http"
import { Http } from "@holdfast/resilience/Limits"
import { type Duration, Effect, Schedule } from "effect"
import type { Connections } from "./Connections.ts"

export interface HttpDrain {
  /** Undefined before there is a server. */
  readonly connections: () => Connections | undefined
  /** Before the server listens. */
  readonly watch: (server: Server, connections: Connections) => void
  readonly run: (grace: Duration.Duration) => Effect.Effect<void>
}

export const makeDrain = (): HttpDrain => {
  const underWay = new Set<ServerResponse>()
  let phase: "open" | "grace" | "ending" = "open"
  let watched: { readonly server: Server; readonly connections: Connections } | undefined
  const endIdle = (server: Server) => {
    // Node ends idle connections only at the moment of closing: one that was busy then would hold the stop until its client goes.
    if (!server.listening && phase !== "grace") setImmediate(() => server.closeIdleConnections())
  }
  return {
    connections: () => watched?.connections,
    watch: (server, connections) => {
      watched = { server, connections }
      server.on("request", (_request, response) => {
        if (phase !== "open") askForAnother(response)
        underWay.add(response)
        response.once("close", () => {
          underWay.delete(response)
          endIdle(server)
        })
      })
    },
    run: (grace) =>
      Effect.suspend(() => {
        if (!watched?.server.listening) return Effect.void
        const { connections, server } = watched
        phase = "grace"
        connections.stopAccepting()
        underWay.forEach(askForAnother)
        return Effect.gen(function* () {
          yield* within(
            grace,
            Effect.sync(() => connections.count() === 0)
          )
          phase = "ending"
          server.closeIdleConnections()
          yield* within(
            Http.stopDeadline,
            Effect.sync(() => [...underWay].every(isEventStream))
          )
        })
      })
  }
}

const askForAnother = (response: ServerResponse): void => {
  if (!response.headersSent) response.setHeader("connection", "close")
}

/** It is never done by itself: whoever serves it ends it when the process does, as with a socket. */
const isEventStream = (response: ServerResponse): boolean =>
  String(response.getHeader("content-type")).startsWith("text/event-stream")

const within = (limit: Duration.Duration, holds: Effect.Effect<boolean>) =>
  holds.pipe(
    Effect.repeat({ until: (yes) => yes, schedule: Schedule.spaced(Http.drainLook) }),
    Effect.timeoutOption(limit)
  )
