// The first step of `npm start`, `npm test` and `npm run bench`, on a machine with nothing but Node 20 and npm: brings
// Node 24 and pnpm into .toolchain/ unless they are there, installs what the lockfile says, and hands over. It promises
// that signals reach the program it started, that the program's exit code becomes its own, and that none is left behind.
import { spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, statfsSync, writeFileSync } from "node:fs"
import { constants } from "node:os"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { explainFailure, isAtLeast, isMajor, neededPackages, nodeMajor, pnpmMajor } from "./src/Toolchain.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))
const toolchain = join(root, ".toolchain")
const installedMark = join(root, "node_modules", ".holdfast-installed")
const freeBytesMin = 1_500_000_000
// Both tools would otherwise try for minutes to reach a registry that is not there.
const retries = { "fetch-retries": 2, "fetch-retry-mintimeout": 1000, "fetch-retry-maxtimeout": 3000 }
const retryOptions = (prefix) => Object.entries(retries).map(([name, value]) => `${prefix}${name}=${value}`)
const progressPauseMs = 5_000
const parentPauseMs = 1_000

const commands = {
  install: () => undefined,
  start: (args) => ["apps/holdfast/src/main.ts", "up", ...args],
  test: (args) => ["scripts/test.ts", ...args],
  bench: (args) => ["scripts/bench.ts", ...args]
}

const main = async ([name = "", ...args]) => {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command === undefined) throw new Error(`Say one of: ${Object.keys(commands).join(", ")}.`)
  const environment = await bringTools()
  await installPackages(environment)
  const program = command(args)
  return program === undefined ? 0 : await run(program, environment)
}

/** The environment in which `node` and `pnpm` are the ones that the desk needs. */
const bringTools = async () => {
  const machine = {
    platform: process.platform,
    arch: process.arch,
    musl: process.platform === "linux" && process.report.getReport().header.glibcVersionRuntime === undefined,
    hasNode: isAtLeast(versionOf("node"), nodeMajor),
    hasPnpm: isMajor(versionOf("pnpm"), pnpmMajor)
  }
  const packages = neededPackages(machine)
  if (!Object.entries(packages).every(([name, version]) => isInstalled(name, version))) await installTools(packages)
  const folders = Object.keys(packages).map((name) =>
    join(toolchain, "node_modules", name, name === "pnpm" ? "" : "bin")
  )
  const compiled = process.env.NODE_COMPILE_CACHE ?? join(toolchain, "compiled")
  return { ...process.env, NODE_COMPILE_CACHE: compiled, PATH: [...folders, process.env.PATH].join(delimiter) }
}

const versionOf = (program) => {
  // Corepack would ask, or download, before it answers.
  const env = { ...process.env, COREPACK_ENABLE_NETWORK: "0" }
  return spawnSync(program, ["--version"], { encoding: "utf8", env, timeout: 20_000 }).stdout ?? ""
}

const isInstalled = (name, version) => {
  const manifest = join(toolchain, "node_modules", name, "package.json")
  const program = join(dirname(manifest), name === "pnpm" ? "pnpm" : "bin/node")
  if (!existsSync(manifest) || JSON.parse(readFileSync(manifest, "utf8")).version !== version) return false
  return spawnSync(program, ["--version"], { timeout: 20_000 }).status === 0
}

const installTools = async (packages) => {
  refuseWithoutSpace()
  mkdirSync(toolchain, { recursive: true })
  writeFileSync(
    join(toolchain, "package.json"),
    JSON.stringify({ private: true, dependencies: packages }, undefined, 2)
  )
  const named = Object.entries(packages).map(([name, version]) => `${name} ${version}`)
  const options = ["--ignore-scripts", "--include=optional", "--no-audit", "--no-fund", "--no-package-lock"]
  options.push("--prefer-offline", ...retryOptions("--"))
  const npm = process.env.npm_execpath?.endsWith("npm-cli.js") ? [process.execPath, process.env.npm_execpath] : ["npm"]
  await step(`Bringing ${named.join(" and ")} into .toolchain/`, "npm", [...npm, "install", ...options], {
    ...process.env,
    npm_config_prefix: undefined,
    npm_config_local_prefix: undefined
  })
  // pnpm's package holds a placeholder until its own script puts the binary there; install scripts are often blocked.
  if (packages.pnpm !== undefined) {
    const script = join(toolchain, "node_modules", "pnpm", "install.js")
    await step("Putting pnpm in place", "pnpm's install script", [process.execPath, script], process.env)
  }
  for (const [name, version] of Object.entries(packages)) {
    if (!isInstalled(name, version))
      throw new Error(`${name} ${version} was installed but does not run on this machine.`)
  }
}

/** Runs a tool that has nothing to ask, showing that it lives; its output appears only when it fails. */
const step = async (title, tool, [file, ...args], env) => {
  const began = Date.now()
  const seconds = () => `${Math.round((Date.now() - began) / 1000)} s`
  console.log(`${title} ...`)
  const progress = setInterval(() => console.log(`  ... ${seconds()}`), progressPauseMs)
  const child = spawn(file, args, { cwd: toolchain, env, stdio: ["ignore", "pipe", "pipe"] })
  let output = ""
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk))
  const code = await ended(child)
  clearInterval(progress)
  if (code === 0) return
  process.stderr.write(output)
  throw new Error(explainFailure(tool, output))
}

/** What the lockfile says, unless exactly that was installed before; the second start needs no network. */
const installPackages = async (env) => {
  const lockfile = createHash("sha256")
    .update(readFileSync(join(root, "pnpm-lock.yaml")))
    .digest("hex")
  if (existsSync(installedMark) && readFileSync(installedMark, "utf8") === lockfile) return
  refuseWithoutSpace()
  console.log("Installing the packages that pnpm-lock.yaml names ...")
  const child = spawn(
    "pnpm",
    ["install", "--frozen-lockfile", "--reporter=append-only", ...retryOptions("--config.")],
    {
      cwd: root,
      // With CI set pnpm asks nothing; it may otherwise ask whether to remove packages installed by another tool.
      env: { ...env, CI: "true" },
      stdio: ["ignore", "pipe", "pipe"]
    }
  )
  let output = ""
  const show = (target) => (chunk) => {
    output += chunk
    target.write(chunk)
  }
  child.stdout.on("data", show(process.stdout))
  child.stderr.on("data", show(process.stderr))
  if ((await ended(child)) !== 0) throw new Error(explainFailure("pnpm", output))
  writeFileSync(installedMark, lockfile)
}

const refuseWithoutSpace = () => {
  const { bavail, bsize } = statfsSync(root)
  if (bavail * bsize >= freeBytesMin) return
  const [needed, found] = [freeBytesMin, bavail * bsize].map((bytes) => Math.round(bytes / 1_000_000))
  throw new Error(`The disk of ${root} has ${found} MB left and the installation needs ${needed} MB: free some space.`)
}

/** Runs the desk's own program under Node 24 and returns its exit code. */
const run = async (args, env) => {
  // On Linux the kernel tells the program when this process is killed outright.
  const guard = existsSync("/usr/bin/setpriv") ? ["/usr/bin/setpriv", "--pdeathsig", "TERM", "--"] : []
  const [file, ...rest] = [...guard, "node", ...args]
  const child = spawn(file, rest, { cwd: root, env, stdio: "inherit" })
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal))
  // A terminal sends Ctrl-C to the program itself; passing it on would look like a second, impatient one.
  process.on("SIGINT", () => process.stdin.isTTY || child.kill("SIGINT"))
  watchParent(child)
  return await ended(child)
}

// npm passes signals on, unless it is killed outright.
const watchParent = (child) => {
  const parent = process.ppid
  if (process.env.npm_lifecycle_event === undefined) return
  setInterval(() => process.ppid !== parent && child.kill("SIGTERM"), parentPauseMs).unref()
}

const ended = (child) =>
  new Promise((settle, fail) => {
    child.once("error", (cause) => fail(new Error(`${child.spawnfile} cannot be run: ${cause.message}`)))
    child.once("close", (code, signal) => settle(code ?? 128 + constants.signals[signal]))
  })

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (cause) {
  console.error(cause instanceof Error ? cause.message : String(cause))
  process.exitCode = 1
}
