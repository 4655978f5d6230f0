// What a machine must have before the tests can run, and how it gets it. Nothing is skipped where something is missing:
// root on Debian gets the packages installed, everybody else is told exactly which ones to install.
import { spawnSync } from "node:child_process"
import { chmodSync, existsSync, rmSync, writeFileSync } from "node:fs"
import { findExecutable } from "./Binaries.ts"
import { testFilesProgram } from "./ClamdServer.ts"

export interface Requirement {
  /** The program or file that must be there, as a person would name it. */
  readonly thing: string
  readonly debianPackage: string
  readonly present: () => boolean
}

const program = (thing: string, debianPackage: string): Requirement => ({
  thing,
  debianPackage,
  present: () => findExecutable(thing) !== undefined
})

const requirements: ReadonlyArray<Requirement> = [
  program("postgres", "postgresql"),
  program("initdb", "postgresql"),
  program("rabbitmq-server", "rabbitmq-server"),
  program("epmd", "erlang-base"),
  program("redis-server", "redis-server"),
  program("clamd", "clamav-daemon"),
  { thing: testFilesProgram, debianPackage: "clamav-testfiles", present: () => existsSync(testFilesProgram) },
  program("pdftoppm", "poppler-utils"),
  program("bwrap", "bubblewrap"),
  program("haproxy", "haproxy"),
  program("openssl", "openssl"),
  // The live page is tested in it.
  program("chromium", "chromium"),
  // The means of failure: a bad line, a small disk, a failing fsync, another clock. They need root as well; their tests say so.
  program("ip", "iproute2"),
  program("setpriv", "util-linux"),
  program("perl", "perl-base"),
  program("mkfs.ext4", "e2fsprogs"),
  program("strace", "strace"),
  program("faketime", "faketime")
]

const policyFile = "/usr/sbin/policy-rc.d"
const aptDeadlineMs = 300_000

/** The Debian packages that bring what is missing, each once. */
export const missingPackages = (all: ReadonlyArray<Requirement>): ReadonlyArray<string> => [
  ...new Set(all.filter((requirement) => !requirement.present()).map((requirement) => requirement.debianPackage))
]

/** One sentence that names what is missing and what to do about it. */
export const describeMissing = (missing: ReadonlyArray<Requirement>): string => {
  const things = missing.map(({ thing, debianPackage }) => `${thing} (Debian package ${debianPackage})`)
  const packages = [...new Set(missing.map(({ debianPackage }) => debianPackage))]
  return `The tests need ${things.join(", ")}. On Debian: apt-get install ${packages.join(" ")}`
}

/** Returns once everything is there; throws with what is missing. */
export const ensureMachine = (report: (line: string) => void): void => {
  const packages = missingPackages(requirements)
  if (packages.length > 0 && process.getuid?.() === 0 && findExecutable("apt-get") !== undefined) {
    report(`Installing the Debian packages ${packages.join(", ")} ...`)
    installPackages(packages)
  }
  const missing = requirements.filter((requirement) => !requirement.present())
  if (missing.length > 0) throw new Error(describeMissing(missing))
}

const installPackages = (packages: ReadonlyArray<string>): void => {
  // Debian starts a server as soon as its package is there; the tests run their own, so nothing of the kind is wanted.
  const ownPolicy = !existsSync(policyFile)
  if (ownPolicy) {
    writeFileSync(policyFile, "#!/bin/sh\nexit 101\n")
    chmodSync(policyFile, 0o755)
  }
  try {
    apt(["update"])
    apt(["install", "--yes", "--no-install-recommends", ...packages])
  } finally {
    if (ownPolicy) rmSync(policyFile, { force: true })
  }
}

const apt = (args: ReadonlyArray<string>): void => {
  // Another apt may be at work, as on a machine that has just booted.
  const options = ["-q", "-o", "DPkg::Lock::Timeout=120"]
  const { status, stdout, stderr, error } = spawnSync("apt-get", [...options, ...args], {
    encoding: "utf8",
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: aptDeadlineMs
  })
  if (status === 0) return
  process.stderr.write(`${stdout}${stderr}`)
  throw new Error(`apt-get ${args.join(" ")} failed${error === undefined ? "" : `: ${error.message}`}.`)
}
