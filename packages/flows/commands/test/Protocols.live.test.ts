// One definition, three protocols, on the real database: every command is reachable by each, and the same command over all of them with
// one commandId happens once.
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import { expect, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { loadSync } from "@grpc/proto-loader"
import { Unauthenticated } from "@holdfast/contracts/CommandErrors"
import { commands } from "@holdfast/contracts/Commands"
import { CommandId, PrincipalId } from "@holdfast/contracts/Ids"
import { Role } from "@holdfast/contracts/Principal"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { CommandRpcs } from "@holdfast/contracts/wire/CommandRpcs"
import { protoFile } from "@holdfast/contracts/wire/ProtoFile"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import * as CommandStorePostgres from "@holdfast/database/CommandStorePostgres"
import { Database } from "@holdfast/database/Database"
import { Identity } from "@holdfast/identity/Identity"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { Commands } from "@holdfast/resilience/Limits"
import { freshPort } from "@holdfast/testkit/TestServers"
import { ByteSize, Context, Effect, Layer, Option, Redacted, Schema } from "effect"
import { FetchHttpClient, HttpIncomingMessage, HttpRouter } from "effect/http"
import { RpcClient, RpcSerialization } from "effect/rpc"
import { SqlClient } from "effect/sql"
import * as GrpcServer from "../src/grpc/CommandGrpcServer.ts"
import * as HandleCommand from "../src/HandleCommand.ts"
import * as CommandRoutes from "../src/http/CommandRoutes.ts"
import * as DocumentationRoutes from "../src/http/DocumentationRoutes.ts"
import * as RpcServer from "../src/rpc/CommandRpcServer.ts"

/** A token is `role:id`. */
const identity = Layer.succeed(
  Identity,
  Identity.of({
    verify: (token) => {
      const [role, id] = Redacted.value(token).split(":")
      return Schema.is(Role)(role)
        ? Effect.succeed({ principal: { id: PrincipalId.make(id ?? ""), role }, expiresAtSeconds: 1e12 })
        : Effect.fail(new Unauthenticated({ detail: "no such role" }))
    }
  })
)

class Ports extends Context.Service<Ports, { readonly http: number; readonly grpc: number }>()("test/Ports") {}

/** A subject that makes the bus die, to see that nobody else notices. */
const poison = "the handler dies on this"

const poisoned = Layer.effect(
  CommandBus,
  Effect.map(CommandBus, (bus) =>
    CommandBus.of({
      execute: (issued) =>
        issued.command._tag === "OpenTicket" && issued.command.subject === poison
          ? Effect.die("poisoned")
          : bus.execute(issued)
    })
  )
)

const desk = Layer.unwrap(
  Effect.gen(function* () {
    const url = yield* migratedDatabase
    const ports = { http: yield* freshPort, grpc: yield* freshPort }
    const database = Database.layer.pipe(
      Layer.provideMerge(ClientPostgres.layer({ url, applicationName: "protocols-test" }))
    )
    const bus = poisoned.pipe(
      Layer.provide(HandleCommand.layer),
      Layer.provide(CommandStorePostgres.layer),
      Layer.provideMerge(database)
    )
    const http = HttpRouter.serve(Layer.mergeAll(CommandRoutes.layer, DocumentationRoutes.layer, RpcServer.layer), {
      disableLogger: true,
      disableListenLog: true
    }).pipe(
      Layer.provide(Layer.succeed(HttpIncomingMessage.MaxBodySize, Commands.requestBytesMax)),
      Layer.provide(
        NodeHttpServer.layer(createServer, {
          port: ports.http,
          host: "127.0.0.1",
          gracefulShutdownTimeout: "100 millis"
        })
      )
    )
    return Layer.mergeAll(
      http,
      GrpcServer.layer({ host: "127.0.0.1", port: ports.grpc }),
      Layer.succeed(Ports, ports)
    ).pipe(Layer.provideMerge(bus), Layer.provide(identity), Layer.provide(Health.layer))
  })
)

const agent = "agent:agent-1"
const newCommandId = () => CommandId.make(randomUUID())

const rest = (path: string, body: unknown, headers: Readonly<Record<string, string>> = {}, token = agent) =>
  Effect.flatMap(Ports, ({ http }) =>
    Effect.promise(async () => {
      const response = await fetch(`http://127.0.0.1:${http}${path}`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body)
      })
      const answer: unknown = await response.json()
      return { status: response.status, headers: response.headers, body: answer }
    })
  )

const rpcOver = (protocol: "http" | "ws") =>
  Layer.unwrap(
    Effect.map(Ports, ({ http }) =>
      protocol === "http"
        ? RpcClient.layerProtocolHttp({ url: `http://127.0.0.1:${http}/rpc` }).pipe(
            Layer.provide(FetchHttpClient.layer)
          )
        : RpcClient.layerProtocolSocket().pipe(
            Layer.provide(NodeSocket.layerWebSocket(`ws://127.0.0.1:${http}/rpc/ws`))
          )
    )
  ).pipe(Layer.provide(RpcSerialization.layerNdjson))

/** A request as any program could write it, with the payload as given; the exit as it came. */
const handMade = (protocol: "http" | "ws", tag: string, payload: unknown, token = agent) =>
  Effect.flatMap(Ports, ({ http }) => {
    const headers = [["authorization", `Bearer ${token}`]]
    const line = `${JSON.stringify({ _tag: "Request", id: "1", tag, payload, headers })}\n`
    const sent = protocol === "http" ? overHttp(http, line) : overSocket(http, line)
    return Effect.map(sent, (lines) => {
      const messages = lines
        .trim()
        .split("\n")
        .map((text) => Schema.decodeUnknownSync(ServerMessage)(JSON.parse(text)))
      return messages.find(({ _tag }) => _tag === "Exit")?.exit
    })
  })

const ServerMessage = Schema.Struct({ _tag: Schema.String, exit: Schema.optionalKey(Schema.Unknown) })

const RefusedExit = Schema.Struct({
  _tag: Schema.Literal("Failure"),
  cause: Schema.Tuple([
    Schema.Struct({
      _tag: Schema.Literal("Fail"),
      error: Schema.Struct({
        _tag: Schema.Literal("ValidationFailed"),
        issues: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.NonEmptyString }))
      })
    })
  ])
})

const overHttp = (port: number, line: string) =>
  Effect.promise(async () => {
    const headers = { "content-type": "application/ndjson" }
    const response = await fetch(`http://127.0.0.1:${port}/rpc`, { method: "POST", headers, body: line })
    return response.text()
  })

const overSocket = (port: number, line: string) =>
  Effect.callback<string>((resume) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/rpc/ws`)
    socket.binaryType = "arraybuffer"
    socket.onopen = () => socket.send(line)
    socket.onmessage = ({ data }) => {
      resume(Effect.succeed(data instanceof ArrayBuffer ? new TextDecoder().decode(data) : String(data)))
      socket.close()
    }
    socket.onerror = () => resume(Effect.die("the socket broke"))
  })

const authorization = { headers: { authorization: `Bearer ${agent}` } }

const isConstructor = (value: unknown): value is grpc.ServiceClientConstructor => typeof value === "function"

const grpcClient = Effect.gen(function* () {
  const { grpc: port } = yield* Ports
  const definition = loadSync(protoFile, { longs: Number, defaults: false, arrays: true })
  const service = definition["holdfast.v1.Commands"]
  if (service === undefined || "format" in service) return yield* Effect.die("no service")
  const Client = grpc.makeClientConstructor(service, "Commands")
  if (!isConstructor(Client)) return yield* Effect.die("no client")
  return yield* Effect.acquireRelease(
    Effect.sync(() => new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure())),
    (client) => Effect.sync(() => client.close())
  )
})

type Answer = { readonly error: grpc.ServiceError | null; readonly value: unknown }

const call = (client: grpc.Client, method: string, request: object, token = agent) =>
  Effect.callback<Answer>((resume) => {
    const metadata = new grpc.Metadata()
    metadata.set("authorization", `Bearer ${token}`)
    const invoke: unknown = Reflect.get(client, method)
    if (typeof invoke !== "function") return resume(Effect.die(`no method ${method}`))
    invoke.call(client, request, metadata, (error: grpc.ServiceError | null, value: unknown) =>
      resume(Effect.succeed({ error, value }))
    )
  })

const ticket = { subject: "Printer", body: "It is on fire." }

it.layer(desk, { excludeTestServices: true, timeout: 180_000 })("commands", (it) => {
  it.effect(
    "beyond the bound of work under way every protocol refuses at once, says when to come again, and goes on",
    () =>
      Effect.gen(function* () {
        const bus = yield* CommandBus
        const sql = yield* SqlClient.SqlClient
        const client = yield* grpcClient
        const issue = Effect.suspend(() =>
          bus.execute({
            principal: { id: PrincipalId.make("automation"), role: "service" },
            command: { _tag: "OpenTicket", ...ticket },
            meta: { commandId: newCommandId() },
            causationId: Option.none()
          })
        ).pipe(Effect.ignore, Effect.andThen(Effect.sleep("50 millis")))
        const overRest = rest("/v1/tickets", ticket, { "idempotency-key": newCommandId() })
        const overRpc = (protocol: "http" | "ws") =>
          handMade(protocol, "OpenTicket", { meta: { commandId: newCommandId() }, ...ticket })
        const overGrpc = call(client, "OpenTicket", { meta: { commandId: newCommandId() }, ...ticket })
        const until = <A, E, R>(ask: Effect.Effect<A, E, R>, is: (answer: A) => boolean) =>
          Effect.repeat(ask, { until: is })
        yield* Effect.scoped(
          Effect.gen(function* () {
            for (let i = 0; i < Commands.underWayMax + 8; i++) yield* Effect.forkScoped(Effect.forever(issue))
            const refused = yield* until(overRest, ({ body }) => JSON.stringify(body).includes(":Overloaded"))
            expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"])
            for (const protocol of ["http", "ws"] as const) {
              yield* until(overRpc(protocol), (exit) => JSON.stringify(exit ?? null).includes('"Overloaded"'))
            }
            const { error } = yield* until(overGrpc, (answer) =>
              String(answer.error?.metadata.get("holdfast-problem-bin")[0]).includes(":Overloaded")
            )
            expect([error?.code, error?.metadata.get("retry-after")]).toEqual([grpc.status.UNAVAILABLE, ["1"]])
          })
        ).pipe((overload) =>
          sql.withTransaction(
            sql`SET LOCAL idle_in_transaction_session_timeout = 0`.pipe(
              Effect.andThen(sql`LOCK TABLE core.aggregate IN ACCESS EXCLUSIVE MODE`),
              Effect.andThen(overload)
            )
          )
        )
        const accepted = yield* until(overRest, ({ status }) => status === 200)
        expect(accepted.body).toMatchObject({ version: 1 })
      }).pipe(Effect.scoped)
  )

  it.effect("the same command over REST, RPC (HTTP and WebSocket) and gRPC with one commandId happens once", () =>
    Effect.gen(function* () {
      const commandId = newCommandId()
      const first = yield* rest("/v1/tickets", ticket, { "idempotency-key": commandId })
      expect(first).toMatchObject({ status: 200, body: { streamId: commandId, version: 1, replayed: false } })
      for (const protocol of ["http", "ws"] as const) {
        const answer = yield* Effect.gen(function* () {
          const client = yield* RpcClient.make(CommandRpcs)
          return yield* client.OpenTicket({ ...ticket, meta: { commandId } }, authorization)
        }).pipe(Effect.provide(rpcOver(protocol)), Effect.scoped)
        expect(answer).toMatchObject({ streamId: commandId, replayed: true })
      }
      const client = yield* grpcClient
      const { value } = yield* call(client, "OpenTicket", { ...ticket, meta: { commandId } })
      expect(value).toMatchObject({ streamId: commandId, version: 1, replayed: true })
      const sql = yield* SqlClient.SqlClient
      expect(yield* sql`SELECT type FROM core.event_log WHERE stream_id = ${commandId}`).toEqual([
        { type: "TicketOpened" }
      ])
    })
  )

  it.effect("every command is reachable over every protocol: an empty one is refused naming its fields", () =>
    Effect.gen(function* () {
      const client = yield* grpcClient
      for (const { name, path } of commands) {
        const byRest = yield* rest(path.replaceAll(/:\w+/g, "x"), {})
        expect([name, byRest.status]).toEqual([name, 400])
        expect(JSON.stringify(byRest.body)).toContain("Idempotency-Key")
        const byGrpc = yield* call(client, name, {})
        expect([name, byGrpc.error?.code]).toEqual([name, grpc.status.INVALID_ARGUMENT])
        const [problem] = byGrpc.error?.metadata.get("holdfast-problem-bin") ?? []
        expect(String(problem)).toContain("commandId")
        expect([...CommandRpcs.requests.keys()]).toContain(name)
      }
    })
  )

  it.effect("REST names everything that is wrong, header and field alike", () =>
    Effect.gen(function* () {
      const { body, headers, status } = yield* rest("/v1/tickets", { subject: "", boy: "x" }, { "if-match": "3" })
      expect(status).toBe(400)
      expect(headers.get("content-type")).toBe("application/problem+json")
      const paths = Schema.decodeUnknownSync(
        Schema.Struct({ issues: Schema.Array(Schema.Struct({ path: Schema.String })) })
      )(body)
      expect(paths.issues.map(({ path }) => path).toSorted()).toEqual([
        "Idempotency-Key",
        "If-Match",
        "body",
        "boy",
        "subject",
        "subject"
      ])
    })
  )

  it.effect("a body that is not JSON, or too large, is a problem and not a crash", () =>
    Effect.gen(function* () {
      const broken = yield* rest("/v1/tickets", "{", { "idempotency-key": randomUUID() })
      expect(broken).toMatchObject({ status: 400, body: { type: "urn:holdfast:problem:ValidationFailed" } })
      const large = "x".repeat(ByteSize.toNumberUnsafe(Commands.requestBytesMax))
      const tooLarge = yield* rest("/v1/tickets", { ...ticket, body: large }, { "idempotency-key": randomUUID() })
      expect(tooLarge).toMatchObject({ status: 413, body: { type: "urn:holdfast:problem:BodyUnreadable" } })
    })
  )

  it.effect("a field in the path is not contradicted by the body", () =>
    Effect.gen(function* () {
      const headers = { "idempotency-key": randomUUID() }
      const answer = yield* rest(`/v1/tickets/${randomUUID()}/claim`, { ticketId: randomUUID() }, headers)
      expect(answer).toMatchObject({ status: 400, body: { issues: [{ path: "ticketId" }] } })
    })
  )

  it.effect("If-Match is the expected version, ETag the one after", () =>
    Effect.gen(function* () {
      const ticketId = randomUUID()
      const opened = yield* rest("/v1/tickets", ticket, { "idempotency-key": ticketId })
      const etag = opened.headers.get("etag") ?? ""
      const claim = () =>
        rest(`/v1/tickets/${ticketId}/claim`, {}, { "idempotency-key": randomUUID(), "if-match": etag })
      expect((yield* claim()).status).toBe(200)
      expect(yield* claim()).toMatchObject({
        status: 409,
        body: { type: "urn:holdfast:problem:VersionConflict", expectedVersion: 1, actualVersion: 3 }
      })
    })
  )

  it.effect("a replay says so in a header", () =>
    Effect.gen(function* () {
      const headers = { "idempotency-key": randomUUID() }
      expect((yield* rest("/v1/tickets", ticket, headers)).headers.get("idempotency-replayed")).toBeNull()
      expect((yield* rest("/v1/tickets", ticket, headers)).headers.get("idempotency-replayed")).toBe("true")
      expect((yield* rest("/v1/tickets", { ...ticket, body: "other" }, headers)).status).toBe(422)
    })
  )

  it.effect("a wrong token is refused the same way everywhere", () =>
    Effect.gen(function* () {
      const byRest = yield* rest("/v1/tickets", ticket, { "idempotency-key": randomUUID() }, "nobody")
      expect(byRest).toMatchObject({ status: 401, body: { type: "urn:holdfast:problem:Unauthenticated" } })
      const byGrpc = yield* call(
        yield* grpcClient,
        "OpenTicket",
        { ...ticket, meta: { commandId: randomUUID() } },
        "nobody"
      )
      expect(byGrpc.error?.code).toBe(grpc.status.UNAUTHENTICATED)
      const byRpc = yield* Effect.gen(function* () {
        const client = yield* RpcClient.make(CommandRpcs)
        return yield* Effect.flip(client.OpenTicket({ subject: "x", body: "y", meta: { commandId: newCommandId() } }))
      }).pipe(Effect.provide(rpcOver("http")), Effect.scoped)
      expect(byRpc._tag).toBe("Unauthenticated")
    })
  )

  it.effect("a defect in one RPC handler ends neither the connection nor the other calls on it", () =>
    Effect.gen(function* () {
      const client = yield* RpcClient.make(CommandRpcs)
      const send = (subject: string) =>
        Effect.exit(client.OpenTicket({ subject, body: "x", meta: { commandId: newCommandId() } }, authorization))
      const exits = yield* Effect.all([send("fine"), send(poison), send("fine too")], { concurrency: "unbounded" })
      expect(exits.map(({ _tag }) => _tag)).toEqual(["Success", "Failure", "Success"])
      expect((yield* send("still fine"))._tag).toBe("Success")
    }).pipe(Effect.provide(rpcOver("ws")), Effect.scoped)
  )

  for (const protocol of ["http", "ws"] as const) {
    it.effect(`a hand-made RPC payload is refused naming everything that is wrong with it (${protocol})`, () =>
      Effect.gen(function* () {
        const meta = { commandId: randomUUID() }
        const refused = (tag: string, payload: unknown) =>
          Effect.map(handMade(protocol, tag, payload), (exit) => Schema.decodeUnknownSync(RefusedExit)(exit).cause)
        const pathsOf = (tag: string, payload: unknown) =>
          Effect.map(refused(tag, payload), ([{ error }]) => error.issues.map(({ path }) => path).toSorted())
        expect(yield* pathsOf("OpenTicket", { subject: "", boy: "x", meta })).toEqual([
          "body",
          "boy",
          "subject",
          "subject"
        ])
        expect(yield* pathsOf("OpenTicket", ticket)).toEqual(["commandId"])
        expect(yield* pathsOf("OpenTicket", { ...ticket, meta: { commandId: "x", version: 1 } })).toEqual([
          "commandId",
          "version"
        ])
        expect(yield* pathsOf("ClaimTicket", { ticketId: 7, meta })).toEqual(["ticketId"])
        for (const payload of [null, "x", [], 7]) expect(yield* pathsOf("OpenTicket", payload)).toContain("")
        for (const { name } of commands) expect(yield* pathsOf(name, {})).toContain("commandId")
      })
    )

    it.effect(`an RPC that nobody may call with this token says so, whatever its payload (${protocol})`, () =>
      Effect.gen(function* () {
        const exit = yield* handMade(protocol, "OpenTicket", {}, "nobody")
        expect(exit).toMatchObject({ _tag: "Failure", cause: [{ _tag: "Fail", error: { _tag: "Unauthenticated" } }] })
      })
    )
  }

  it.effect("gRPC reflection lists the services", () =>
    Effect.gen(function* () {
      const { grpc: port } = yield* Ports
      const folder = dirname(createRequire(import.meta.url).resolve("@grpc/reflection/package.json"))
      const definition = loadSync(join(folder, "build/proto/grpc/reflection/v1/reflection.proto"))[
        "grpc.reflection.v1.ServerReflection"
      ]
      if (definition === undefined || "format" in definition) return yield* Effect.die("no reflection service")
      const Client = grpc.makeClientConstructor(definition, "ServerReflection")
      const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure())
      const answer = yield* Effect.callback<unknown, Error>((resume) => {
        const open: unknown = Reflect.get(client, "ServerReflectionInfo")
        if (typeof open !== "function") return resume(Effect.die("no method ServerReflectionInfo"))
        const stream: grpc.ClientDuplexStream<object, unknown> = open.call(client)
        stream.once("data", (data) => resume(Effect.succeed(data)))
        stream.once("error", (error) => resume(Effect.fail(error)))
        stream.write({ listServices: "" })
      }).pipe(Effect.ensuring(Effect.sync(() => client.close())))
      expect(answer).toMatchObject({
        listServicesResponse: { service: expect.arrayContaining([{ name: "holdfast.v1.Commands" }]) }
      })
    })
  )

  it.effect("gRPC has health", () =>
    Effect.gen(function* () {
      const { grpc: port } = yield* Ports
      const health = yield* Effect.promise(() => import("grpc-health-check"))
      const definition = loadSync(health.protoPath)["grpc.health.v1.Health"]
      if (definition === undefined || "format" in definition) return yield* Effect.die("no health service")
      const Client = grpc.makeClientConstructor(definition, "Health")
      const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure())
      const { value } = yield* call(client, "Check", { service: "holdfast.v1.Commands" })
      client.close()
      expect(value).toMatchObject({ status: 1 })
    })
  )

  it.effect("OpenAPI and its page are served, and load nothing from elsewhere", () =>
    Effect.gen(function* () {
      const { http } = yield* Ports
      const page = yield* Effect.promise(() =>
        fetch(`http://127.0.0.1:${http}/docs`).then((response) => response.text())
      )
      expect(page).not.toMatch(/<(script|link)[^>]+(src|href)="https?:/)
      const spec = yield* Effect.promise(() =>
        fetch(`http://127.0.0.1:${http}/openapi.json`).then((response) => response.json())
      )
      expect(spec).toMatchObject({ openapi: "3.1.0" })
    })
  )
})
