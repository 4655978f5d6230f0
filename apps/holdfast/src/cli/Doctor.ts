// `holdfast doctor`: looks at everything that the desk needs, one line each, and says what to do about what is wrong. It changes nothing that is there,
// and works beside a running desk. Exit code 0 only when nothing is wrong.
import { connect } from "node:net"
import { Console, Effect, Option, Redacted } from "effect"
import { Command } from "effect/cli"
import { refuse } from "../Refusal.ts"
import { readSettings, type Settings } from "../Settings.ts"
import { wantedPorts } from "../supervisor/Addresses.ts"
import { dataFolderAt, prepareDataFolder } from "../supervisor/DataFolder.ts"
import { readDesk } from "../supervisor/DeskFile.ts"
import { checkPorts } from "../supervisor/Ports.ts"
import { table } from "../Table.ts"
import { checkFileTools } from "./FileTools.ts"
import { allPending, sentenceOf } from "./Migrate.ts"
import { checkObjectStorage } from "./ObjectStorage.ts"
import { json } from "./Up.ts"

export interface Finding {
  readonly what: string
  readonly well: boolean
  /** How it is, or what to do about it. */
  readonly told: string
}

export const doctor = Command.make(
  "doctor",
  { json },
  Effect.fn("holdfast.doctor")(function* (options) {
    const settings = yield* readSettings
    const own = yield* Effect.all([checkNode, checkFolder(settings), checkAllPorts(settings)])
    const servers = yield* Effect.forEach(dependencies(settings), checkServer, { concurrency: "unbounded" })
    const storage = yield* checkObjectStorage(settings)
    const findings = [...own, ...servers, storage, yield* checkSchema(settings), ...(yield* checkFileTools(settings))]
    yield* Console.log(options.json ? JSON.stringify(findings) : findingsTable(findings))
    const wrong = findings.filter(({ well }) => !well)
    if (wrong.length > 0) return yield* refuse(`${wrong.length} of ${findings.length} need attention.`)
  })
).pipe(Command.withDescription("Check everything that the desk needs, and say what to do"))

export const findingsTable = (findings: ReadonlyArray<Finding>): string =>
  table(
    ["", "what", "how it is"],
    findings.flatMap(({ told, well, what }) => {
      const [first = "", ...more] = told.split("\n")
      return [[well ? "ok" : "!!", what, first], ...more.map((line) => ["", "", line])]
    })
  )

const checkNode = Effect.sync((): Finding => {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
  // Sockets that are handed on need `net.BoundSocket`.
  const well = major > 24 || (major === 24 && minor >= 19)
  const told = well ? process.version : `${process.version} is too old: start with \`npm start\`, which brings Node 24.`
  return { what: "Node", well, told }
})

const checkFolder = (settings: Settings): Effect.Effect<Finding> =>
  prepareDataFolder(settings.dataDir).pipe(
    Effect.as({ what: "data folder", well: true, told: settings.dataDir }),
    Effect.catch(({ sentence }) => Effect.succeed({ what: "data folder", well: false, told: sentence }))
  )

const checkAllPorts = Effect.fnUntraced(function* (settings: Settings) {
  const desk = yield* readDesk(dataFolderAt(settings.dataDir).run)
  if (Option.isSome(desk))
    return { what: "ports", well: true, told: `held by the running desk (process ${desk.value.pid})` }
  return yield* checkPorts(settings.host, wantedPorts(settings, null)).pipe(
    Effect.as({ what: "ports", well: true, told: "free" }),
    Effect.catch(({ sentence }) => Effect.succeed({ what: "ports", well: false, told: sentence }))
  )
})

/** Only where there is a database to ask: a desk that brings its own migrates it when it starts. */
const checkSchema = (settings: Settings): Effect.Effect<Finding> =>
  allPending(settings).pipe(
    Effect.map((left) => ({
      what: "schema",
      well: left.every(({ waitsFor }) => waitsFor !== null),
      told: left.length === 0 ? "current" : left.map(sentenceOf).join("\n")
    })),
    Effect.catch(({ sentence }) =>
      Effect.succeed({ what: "schema", well: Option.isNone(settings.databaseUrl), told: sentence })
    )
  )

interface Dependency {
  readonly what: string
  readonly variable: string
  readonly url: Option.Option<string>
  readonly portDefault: number
  readonly standIn: string
  /** What is sent, and how the answers of a server of this kind begin. */
  readonly hello: Buffer
  readonly answers: ReadonlyArray<string>
}

/** Length, protocol 3.0, and a user that may or may not exist: either answer tells that a PostgreSQL is there. */
const postgresHello = Buffer.concat([Buffer.from([0, 0, 0, 21, 0, 3, 0, 0]), Buffer.from("user\0doctor\0\0")])

const dependencies = (settings: Settings): ReadonlyArray<Dependency> => [
  {
    ...{ what: "database", variable: "HOLDFAST_DATABASE_URL", portDefault: 5432 },
    url: Option.map(settings.databaseUrl, Redacted.value),
    standIn: "a PostgreSQL of the desk's own",
    hello: postgresHello,
    answers: ["R", "E"]
  },
  {
    ...{ what: "broker", variable: "HOLDFAST_RABBITMQ_URL", portDefault: 5672 },
    url: Option.map(settings.rabbitmqUrl, Redacted.value),
    standIn: "the event log stands in",
    hello: Buffer.from("AMQP\0\0\x09\x01", "latin1"),
    answers: ["\u0001"]
  },
  {
    ...{ what: "cache", variable: "HOLDFAST_REDIS_URL", portDefault: 6379 },
    url: Option.map(settings.redisUrl, Redacted.value),
    standIn: "an SQLite file stands in",
    hello: Buffer.from("PING\r\n"),
    answers: ["+", "-"]
  },
  {
    ...{ what: "scanner", variable: "HOLDFAST_CLAMD_URL", portDefault: 3310 },
    url: settings.clamdUrl,
    standIn: "the content policy scanner stands in",
    hello: Buffer.from("zPING\0"),
    answers: ["PONG"]
  }
]

const checkServer = (dependency: Dependency): Effect.Effect<Finding> => {
  const { standIn, url, what } = dependency
  if (Option.isNone(url))
    return Effect.succeed({ what, well: true, told: `${standIn} (${dependency.variable} is not set)` })
  const nodes = url.value.split(/,(?=\w+:\/\/)/).map((one) => new URL(one))
  return Effect.map(
    Effect.promise(() => Promise.all(nodes.map((node) => greet(node, dependency)))),
    (answers) => {
      const faults = answers.filter((fault) => fault !== null)
      const places = nodes.map(({ host }) => host).join(", ")
      return { what, well: faults.length === 0, told: faults.length === 0 ? `answers at ${places}` : faults.join(" ") }
    }
  )
}

/** Null when the right kind of server answers; else what to do. Encrypted servers are only connected to. */
const greet = (url: URL, { answers, hello, portDefault, variable, what }: Dependency): Promise<string | null> =>
  new Promise((resolve) => {
    const port = url.port === "" ? portDefault : Number(url.port)
    const place = `${url.hostname}:${port} (${variable})`
    const encrypted = ["amqps:", "rediss:"].includes(url.protocol)
    const socket = connect(port, url.hostname, () => (encrypted ? settle(null) : socket.write(hello)))
    const settle = (fault: string | null) => {
      socket.destroy()
      resolve(fault)
    }
    socket.setTimeout(3_000, () =>
      settle(`${place} does not answer: see whether the ${what} hangs or a firewall is between.`)
    )
    socket.on("error", (cause) =>
      settle(`${place} cannot be reached (${cause.message}): start the ${what}, or correct the URL.`)
    )
    socket.on("close", () => settle(`${place} hung up: see the log of the ${what}.`))
    socket.on("data", (chunk) => {
      const text = chunk.toString("latin1")
      const right = answers.some((beginning) => text.startsWith(beginning))
      settle(right ? null : `${place} is not the kind of server that was expected: correct the URL.`)
    })
  })
