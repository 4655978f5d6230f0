// Imports point one way: contracts, domain, resilience, adapters, flows, apps. A flow never imports a flow; a flow knows an adapter
// only by its service file; a driver is named by one adapter. Whoever breaks this ties a failure domain to somebody else's.
import { describe, expect, it } from "@effect/vitest"
import { nameOf, type Package, packages, type Source, sources, targetOf } from "./Sources.ts"

const layers = [
  "packages/contracts",
  "packages/domain",
  "packages/resilience",
  "packages/adapters/",
  "packages/flows/",
  "packages/client",
  "apps/"
]
const layerOf = ({ folder }: Package): number =>
  layers.findIndex((layer) => folder === layer || (layer.endsWith("/") && folder.startsWith(layer)))
const isIn = (layer: string) => (source: Source) => source.path.startsWith(layer)
/** Drills break a running desk with the very proxy that tests use; no other file may. */
const isDrill = ({ path }: Source, name: string): boolean =>
  path === "apps/holdfast/src/supervisor/FaultProxies.ts" && name === "@holdfast/testkit/Faults"
const product = sources.filter((source) => layerOf(source.package) >= 0)

/** Our own packages that a file imports, its own excepted. */
const neighbours = (source: Source) =>
  source.imports.flatMap((name) => {
    const target = targetOf(name)
    return target === null || target.package === source.package ? [] : [{ name, ...target }]
  })

const breaches = (
  of: ReadonlyArray<Source>,
  isBreach: (source: Source, name: string, to: Package, file: string) => boolean
) =>
  of.flatMap((source) =>
    neighbours(source)
      .filter((target) => isBreach(source, target.name, target.package, target.file))
      .map(({ name }) => `${source.path} imports ${name}`)
  )

describe("imports", () => {
  it("are found at all", () => {
    expect(product.length).toBeGreaterThan(100)
    expect(product.flatMap(neighbours).length).toBeGreaterThan(200)
  })

  it("never point up, nor to a layer that is not part of the product", () => {
    const up = breaches(product, (source, name, to) => {
      const isBelow = layerOf(to) >= 0 && layerOf(to) <= layerOf(source.package)
      // The command line migrates, and each process asks how far that went; migrations are their own half of the database.
      const mayMigrate = isIn("apps/holdfast/")(source) || source.path === "apps/process/src/Schema.ts"
      return !isBelow && !(mayMigrate && to.folder === "migrations") && !isDrill(source, name)
    })
    expect(up).toEqual([])
  })

  it("of resilience know contracts alone", () => {
    const other = breaches(
      product.filter(isIn("packages/resilience")),
      (_source, _name, to) => to.folder !== "packages/contracts"
    )
    expect(other).toEqual([])
  })

  it("of the client know contracts and pure rules alone, and Node in its file store only", () => {
    const client = product.filter(isIn("packages/client/"))
    const known = new Set(["packages/contracts", "packages/domain"])
    expect(client.length).toBeGreaterThan(10)
    expect(breaches(client, (_source, _name, to) => !known.has(to.folder))).toEqual([])
    const onNode = client.filter(({ imports }) => imports.some((name) => /^(node:|@effect\/platform-node)/.test(name)))
    expect(onNode.map(nameOf)).toEqual(["StoreFile"])
  })

  it("of a flow never lead to a flow", () => {
    const flow = breaches(product.filter(isIn("packages/flows/")), (_source, _name, to) =>
      to.folder.startsWith("packages/flows/")
    )
    expect(flow).toEqual([])
  })

  it("of an app lead to no other app but the part that all processes share", () => {
    const app = breaches(
      product.filter(isIn("apps/")),
      (_source, _name, to) => to.folder.startsWith("apps/") && to.folder !== "apps/process"
    )
    expect(app).toEqual([])
  })

  it("stay inside their package when they are relative, and name the file", () => {
    const stray = sources.flatMap((source) => {
      const depth = source.path.split("/").length - source.package.folder.split("/").length - 1
      return source.imports
        .filter(
          (name) =>
            name.startsWith(".") && (!/\.(ts|mts|mjs|json)$/.test(name) || (name.match(/\.\.\//g)?.length ?? 0) > depth)
        )
        .map((name) => `${source.path} imports ${name}`)
    })
    expect(stray).toEqual([])
  })
})

describe("an adapter", () => {
  const adapterFiles = product.filter(isIn("packages/adapters/"))
  const namesIn = (folder: string) => adapterFiles.filter((file) => file.package.folder === folder).map(nameOf)
  /** `BrokerRabbitMq` beside `Broker`; also what only a vendor's name tells. */
  const isLive = (folder: string, file: string) =>
    /(Embedded|Postgres)$/.test(file) ||
    namesIn(folder).some(
      (service) => file !== service && file.startsWith(service) && /^[A-Z]/.test(file.slice(service.length))
    )

  it("is known to a flow by its service files only, never by a live or embedded one", () => {
    const live = breaches(
      product.filter(isIn("packages/flows/")),
      (_source, _name, to, file) => to.folder.startsWith("packages/adapters/") && isLive(to.folder, file)
    )
    expect(live).toEqual([])
  })

  it("knows another adapter by its service files only", () => {
    const live = breaches(
      adapterFiles,
      (_source, _name, to, file) => to.folder.startsWith("packages/adapters/") && isLive(to.folder, file)
    )
    expect(live).toEqual([])
  })

  it("alone names its driver", () => {
    // Not drivers: the platform itself, and a parser that reaches nothing outside.
    const free = new Set(["effect", "@effect/platform-node", "file-type"])
    // Migrations are the database's own; nobody else runs them against anything.
    const shared = new Set(["migrations @effect/sql-pg"])
    const namedBy = ({ manifest }: Package) =>
      Object.keys(manifest.dependencies ?? {}).filter((name) => !name.startsWith("@holdfast/"))
    const drivers = packages
      .filter(({ folder }) => folder.startsWith("packages/adapters/"))
      .flatMap((adapter) =>
        namedBy(adapter)
          .filter((name) => !free.has(name))
          .map((driver) => ({ adapter, driver }))
      )
    expect(drivers.length).toBeGreaterThan(8)
    const others = drivers.flatMap(({ adapter, driver }) =>
      packages
        .filter((other) => other !== adapter && !["test", "packages/testkit"].includes(other.folder))
        .filter((other) => namedBy(other).includes(driver) && !shared.has(`${other.folder} ${driver}`))
        .map((other) => `${other.folder} names ${driver}, the driver of ${adapter.folder}`)
    )
    expect(others).toEqual([])
  })
})

describe("the domain", () => {
  const domain = product.filter(isIn("packages/domain/"))

  it("does no input or output: of Node it knows hashing, of Effect only data", () => {
    const stray = domain.flatMap((source) =>
      source.imports
        .filter(
          (name) => !name.startsWith(".") && targetOf(name) === null && name !== "effect" && name !== "node:crypto"
        )
        .map((name) => `${source.path} imports ${name}`)
    )
    expect(stray).toEqual([])
    const data = new Set(["DateTime", "Duration", "Equal", "Option", "Order", "Redacted", "Result", "Schema"])
    const runtime = domain.flatMap(({ path, text }) =>
      [...text.matchAll(/import (?:type )?\{([^}]*)\} from "effect"/g)]
        .flatMap(([, names = ""]) => names.split(",").map((name) => name.replace("type ", "").trim()))
        .filter((name) => !data.has(name))
        .map((name) => `${path} uses ${name}`)
    )
    expect(runtime).toEqual([])
  })

  it("reads no clock and no chance", () => {
    const impure = /Date\.now|new Date\(\)|Math\.random|DateTime\.now|randomUUID|randomBytes|process\./
    expect(domain.filter(({ text }) => impure.test(text)).map(({ path }) => path)).toEqual([])
  })
})

it("testing tools are in no product file", () => {
  const tools = product.flatMap((source) =>
    source.imports
      .filter((name) => /^(vitest|@effect\/vitest|@holdfast\/testkit|effect\/testing)/.test(name))
      .filter((name) => !isDrill(source, name))
      .map((name) => `${source.path} imports ${name}`)
  )
  expect(tools).toEqual([])
})
