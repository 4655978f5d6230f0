// gRPC: one method per definition, loaded from the generated .proto, with the standard health and reflection services. A refusal is a
// status, with the same problem details as REST in its metadata.
import { createServer, type Server as Listener } from "node:net"
import * as grpc from "@grpc/grpc-js"
import { loadSync } from "@grpc/proto-loader"
import { ReflectionService } from "@grpc/reflection"
import type { CommandAccepted } from "@holdfast/contracts/Command"
import { type CommandName, commands } from "@holdfast/contracts/Commands"
import { Traceparent } from "@holdfast/contracts/Envelope"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { type Refused, retryAfterSeconds, toProblem } from "@holdfast/contracts/wire/Problem"
import { protoFile } from "@holdfast/contracts/wire/ProtoFile"
import { fromProto, payloadMessages } from "@holdfast/contracts/wire/ProtoShape"
import { Identity } from "@holdfast/identity/Identity"
import { Health } from "@holdfast/resilience/Health"
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { Commands, Http } from "@holdfast/resilience/Limits"
import {
  ByteSize,
  Cause,
  Data,
  Duration,
  Effect,
  type Exit,
  FiberSet,
  Layer,
  Option,
  Schedule,
  Schema,
  Tracer
} from "effect"
import { HealthImplementation } from "grpc-health-check"
import { authenticate } from "../Authenticate.ts"
import { decodeCommand } from "../DecodeCommand.ts"

export interface GrpcOptions {
  readonly host: string
  readonly port: number
  /** A listening socket that was opened for this process; it listens on that instead. */
  readonly fd?: number | undefined
}

export class GrpcCannotListen extends Data.TaggedError("GrpcCannotListen")<{
  readonly host: string
  readonly port: number
  readonly message: string
}> {}

const serviceName = "holdfast.v1.Commands"

/** Field names as in the contracts; an absent field is absent, a list is never absent. */
const definition = loadSync(protoFile, { longs: Number, defaults: false, arrays: true, oneofs: false })

const serviceDefinition = (): grpc.ServiceDefinition => {
  const found = definition[serviceName]
  if (found === undefined || "format" in found) throw new Error(`${protoFile} has no service ${serviceName}`)
  return found
}

export const layer = (options: GrpcOptions) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const implementation = yield* makeImplementation
      const health = new HealthImplementation({ "": "SERVING", [serviceName]: "SERVING" })
      const server = new grpc.Server(serverLimits)
      server.addService(serviceDefinition(), implementation)
      health.addToServer(server)
      new ReflectionService(definition).addToServer(server)
      yield* Effect.acquireRelease(listen(server, options), (listener) => stop(server, listener))
      yield* Effect.forkScoped(keepRunning("telling the gRPC health service", tellHealth(health)))
    })
  )

const serverLimits: grpc.ServerOptions = {
  "grpc.max_receive_message_length": ByteSize.toNumberUnsafe(Commands.requestBytesMax),
  "grpc.max_concurrent_streams": Commands.grpcStreamsMax,
  "grpc.max_connection_idle_ms": Duration.toMillis(Http.keepAlive)
}

/** On a listener of ours: the library takes connections from elsewhere, but neither inherited sockets nor a stop that waits (see `stop`). */
const listen = (server: grpc.Server, { fd, host, port }: GrpcOptions) =>
  Effect.callback<Listener, GrpcCannotListen>((resume) => {
    const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure())
    const listener = createServer((socket) => injector.injectConnection(socket))
    listener.once("error", ({ message }) => resume(Effect.fail(new GrpcCannotListen({ host, port, message }))))
    listener.listen(fd === undefined ? { host, port } : { fd }, () => resume(Effect.succeed(listener)))
  })

// Calls under way may finish; whoever only keeps a connection open is told to go elsewhere. The library says that it has shut down while
// calls are still under way: Node 24 closes the sessions of a server that closes, and the library takes a session that closes for one that
// is closed. The listener knows when the last connection has ended.
const stop = (server: grpc.Server, listener: Listener) =>
  Effect.callback<void>((resume) => {
    listener.close(() => resume(Effect.void))
    server.tryShutdown(() => undefined)
  }).pipe(
    Effect.timeoutOrElse({
      duration: Commands.requestDeadline,
      orElse: () => Effect.sync(() => server.forceShutdown())
    })
  )

/** As `/health/ready` says: without the database nothing can be written. */
const tellHealth = (health: HealthImplementation) =>
  Health.use((known) => known.all).pipe(
    Effect.map((all) => all.some(({ dependency, state }) => dependency === "database" && state === "down")),
    Effect.tap((isDown) =>
      Effect.sync(() => {
        for (const service of ["", serviceName]) health.setStatus(service, isDown ? "NOT_SERVING" : "SERVING")
      })
    ),
    Effect.repeat(Schedule.spaced(Commands.grpcHealthInterval))
  )

type Call = grpc.ServerUnaryCall<unknown, CommandAccepted>
type Respond = grpc.sendUnaryData<CommandAccepted>

const makeImplementation = Effect.gen(function* () {
  const bus = yield* CommandBus
  const identity = yield* Identity
  const fork = yield* FiberSet.makeRuntime<never>()
  const methodOf = (name: CommandName) => (call: Call, respond: Respond) => {
    const fiber = fork(answer(name, call, bus, identity))
    fiber.addObserver((exit) => reply(exit, respond))
    call.on("cancelled", () => fiber.interruptUnsafe())
  }
  return Object.fromEntries(commands.map(({ name }) => [name, methodOf(name)]))
})

const answer = (name: CommandName, call: Call, bus: CommandBus["Service"], identity: Identity["Service"]) =>
  Effect.gen(function* () {
    const principal = yield* authenticate(identity, textOf(call.metadata, "authorization"))
    const { meta, ...fields } = requestOf(call.request)
    const shape = payloadMessages.get(name)
    const payload = shape === undefined ? fields : fromProto(shape, fields)
    const decoded = yield* Effect.fromResult(decodeCommand(name, payload, meta ?? {}))
    return yield* bus.execute({ principal, ...decoded, causationId: Option.none() })
  }).pipe(
    Effect.tapDefect((defect) => Effect.logError("a gRPC call failed", defect)),
    Effect.withSpan(`Grpc.${name}`, { kind: "server", ...parentOf(call.metadata) })
  )

const requestOf = (request: unknown): Readonly<Record<string, unknown>> =>
  typeof request === "object" && request !== null ? { ...request } : {}

const textOf = (metadata: grpc.Metadata, key: string): string | undefined => {
  const [value] = metadata.get(key)
  return typeof value === "string" ? value : undefined
}

const isTraceparent = Schema.is(Traceparent)

const parentOf = (metadata: grpc.Metadata): { readonly parent?: Tracer.ExternalSpan } => {
  const traceparent = textOf(metadata, "traceparent")
  if (!isTraceparent(traceparent)) return {}
  const [, traceId = "", spanId = "", flags] = traceparent.split("-")
  return { parent: Tracer.externalSpan({ traceId, spanId, sampled: flags === "01" }) }
}

const reply = (exit: Exit.Exit<CommandAccepted, Refused>, respond: Respond) => {
  if (exit._tag === "Success") return respond(null, exit.value)
  const failed = exit.cause.reasons.find((reason) => reason._tag === "Fail")
  // A defect tells nothing of itself to the outside.
  respond(failed === undefined ? unknownOutcome(exit.cause) : statusOf(failed.error))
}

const unknownOutcome = (cause: Cause.Cause<unknown>): Partial<grpc.StatusObject> =>
  Cause.hasInterruptsOnly(cause)
    ? { code: grpc.status.UNAVAILABLE, details: "The desk is stopping: send this again with the same commandId." }
    : { code: grpc.status.INTERNAL, details: "The desk failed; nothing is known." }

const statusOf = (error: Refused): Partial<grpc.StatusObject> => {
  const problem = toProblem(error)
  const metadata = new grpc.Metadata()
  metadata.set("holdfast-problem-bin", Buffer.from(JSON.stringify(problem)))
  const retryAfter = retryAfterSeconds(error)
  if (retryAfter !== null) metadata.set("retry-after", String(retryAfter))
  return { code: codeOf(error, problem.status), details: problem.title, metadata }
}

const codeOf = ({ _tag }: Refused, httpStatus: number): grpc.status => {
  if (_tag === "VersionConflict" || _tag === "CommandInProgress") return grpc.status.ABORTED
  if (_tag === "TicketAlreadyExists" || _tag === "FileAlreadyRegistered") return grpc.status.ALREADY_EXISTS
  return codeByHttpStatus.get(httpStatus) ?? grpc.status.FAILED_PRECONDITION
}

const codeByHttpStatus: ReadonlyMap<number, grpc.status> = new Map([
  [400, grpc.status.INVALID_ARGUMENT],
  [401, grpc.status.UNAUTHENTICATED],
  [403, grpc.status.PERMISSION_DENIED],
  [404, grpc.status.NOT_FOUND],
  [429, grpc.status.RESOURCE_EXHAUSTED],
  [503, grpc.status.UNAVAILABLE]
])
