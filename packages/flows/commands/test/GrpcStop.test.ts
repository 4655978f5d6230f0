// A gRPC server that stops while calls are under way, over the wire: whoever it took in is answered. The bus is the test's own, because
// the test decides when it answers.
import { BoundSocket } from "node:net"
import { expect, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { loadSync } from "@grpc/proto-loader"
import type { CommandAccepted } from "@holdfast/contracts/Command"
import { CommandId, PrincipalId, StreamId, StreamVersion } from "@holdfast/contracts/Ids"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { protoFile } from "@holdfast/contracts/wire/ProtoFile"
import { Identity } from "@holdfast/identity/Identity"
import { Health } from "@holdfast/resilience/Health"
import { Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import * as GrpcServer from "../src/grpc/CommandGrpcServer.ts"

const anybody = Layer.succeed(
  Identity,
  Identity.of({
    verify: () =>
      Effect.succeed({ principal: { id: PrincipalId.make("lena"), role: "customer" }, expiresAtSeconds: 1e12 })
  })
)

const accepted: CommandAccepted = {
  commandId: CommandId.make("0198c1f4-0000-7000-8000-000000000002"),
  streamId: StreamId.make("0198c1f4-0000-7000-8000-000000000001"),
  version: StreamVersion.make(2),
  replayed: false
}

it.live("answers the calls that are under way before it is gone", () =>
  Effect.gen(function* () {
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => new BoundSocket({ host: "127.0.0.1", port: 0 })),
      (bound) => Effect.sync(() => bound.close())
    )
    const { port } = socket.address()
    const arrived = yield* Deferred.make<void>()
    const gate = yield* Deferred.make<void>()
    const bus = Layer.succeed(
      CommandBus,
      CommandBus.of({
        execute: () =>
          Deferred.succeed(arrived, undefined).pipe(Effect.andThen(Deferred.await(gate)), Effect.as(accepted))
      })
    )
    const scope = yield* Scope.make()
    const server = GrpcServer.layer({ host: "127.0.0.1", port, fd: socket.fd() }).pipe(
      Layer.provide([bus, anybody, Health.layer])
    )
    yield* Layer.buildWithScope(server, scope)
    const answer = yield* Effect.forkChild(replyTo(port), { startImmediately: true })
    yield* Deferred.await(arrived)
    const stopped = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
    yield* Effect.sleep("200 millis")
    yield* Deferred.succeed(gate, undefined)
    expect(yield* Fiber.join(answer)).toMatchObject({ version: 2 })
    yield* Fiber.join(stopped)
  })
)

const replyTo = (port: number) =>
  Effect.callback<unknown>((resume) => {
    const { holdfast } = grpc.loadPackageDefinition(loadSync(protoFile, { longs: Number }))
    const { Commands } = (holdfast as { v1: { Commands: grpc.ServiceClientConstructor } }).v1
    const client = new Commands(`127.0.0.1:${port}`, grpc.credentials.createInsecure())
    const metadata = new grpc.Metadata()
    metadata.set("authorization", "Bearer anybody")
    const { commandId, streamId: ticketId } = accepted
    const request = { ticketId, body: "Still there.", meta: { commandId } }
    client.ReplyToTicket?.(request, metadata, (error: Error | null, value: unknown) => {
      client.close()
      resume(Effect.succeed(error ?? value))
    })
  })
