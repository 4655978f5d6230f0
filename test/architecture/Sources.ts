// The workspace as the architecture tests see it: every source file with its package, its text and what it imports.
import { globSync, readFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"

export const root = join(import.meta.dirname, "../..")

export interface Manifest {
  readonly name: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
}

export interface Package {
  /** Below the root, such as `packages/flows/commands`. */
  readonly folder: string
  readonly manifest: Manifest
}

export interface Source {
  /** Below the root. */
  readonly path: string
  readonly package: Package
  readonly text: string
  readonly imports: ReadonlyArray<string>
}

const skipped = (path: string) => path.includes("node_modules") || path.startsWith(".")
const glob = (pattern: string) => globSync(pattern, { cwd: root, exclude: skipped }).sort()
const read = (path: string) => readFileSync(join(root, path), "utf8")

export const packages: ReadonlyArray<Package> = [
  "packages/*",
  "packages/*/*",
  "apps/*",
  "migrations",
  "test",
  "scripts"
]
  .flatMap((pattern) => glob(`${pattern}/package.json`))
  .map((path) => ({ folder: dirname(path), manifest: JSON.parse(read(path)) }))

/** `from "x"`, `import "x"` and `import("x")`, types included: a type ties two packages together as well. */
const importsOf = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/(?:\bfrom|^import|\bimport\()\s*"([^"]+)"/gm)].map(([, name = ""]) => name)

const packageOf = (path: string): Package => {
  const found = packages.find(({ folder }) => path.startsWith(`${folder}/`))
  if (found === undefined) throw new Error(`${path} belongs to no package`)
  return found
}

const load = (patterns: ReadonlyArray<string>): ReadonlyArray<Source> =>
  patterns.flatMap(glob).map((path) => {
    const text = read(path)
    return { path, package: packageOf(path), text, imports: importsOf(text) }
  })

/** What runs in production. */
export const sources = load([
  "packages/**/src/**/*.ts",
  "apps/*/src/**/*.ts",
  "migrations/src/**/*.ts",
  "scripts/**/*.ts"
])

/** What proves it. */
export const tests = load([
  "packages/**/test/**/*.ts",
  "apps/*/test/**/*.ts",
  "migrations/test/**/*.ts",
  "test/**/*.ts"
])

export const nameOf = ({ path }: Source): string => basename(path, ".ts")

export interface Target {
  readonly package: Package
  /** The file within the package's `src`, without its ending. */
  readonly file: string
}

/** Where an import of one of our own packages leads; null for anything else. */
export const targetOf = (name: string): Target | null => {
  const [scope, short, ...file] = name.split("/")
  const found = packages.find(({ manifest }) => manifest.name === `${scope}/${short}`)
  return found === undefined ? null : { package: found, file: file.join("/") }
}
