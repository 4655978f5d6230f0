// The proxy as it is shipped, on ports and with a certificate of a test: HAProxy itself with deploy/haproxy.cfg, in front of whatever the test
// says. While it runs, this process trusts its certificate.
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { connect as connectTcp } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect, getCACertificates, setDefaultCACertificates, type TLSSocket } from "node:tls"
import { requireExecutable } from "@holdfast/scripts/Binaries"
import { choosePort } from "@holdfast/scripts/Ports"
import { root } from "./Desk.ts"

/** What stands behind it: host and port of each. */
export interface Behind {
  readonly command: string
  readonly grpc: string
  readonly query: string
  readonly realtime: string
  readonly file: string
}

export interface Proxy {
  readonly controlPort: number
  readonly bulkPort: number
  readonly stop: () => Promise<void>
}

export const configuration = join(root, "deploy/haproxy.cfg")

export const haproxy = (): string => requireExecutable("haproxy")

export const startProxy = async (behind: Behind): Promise<Proxy> => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-proxy-"))
  const trusted = getCACertificates("default")
  const { both, certificate } = await makeCertificate(folder)
  const taken = new Set<number>()
  const [controlPort, bulkPort] = [await choosePort(undefined, taken), await choosePort(undefined, taken)]
  const child = spawn(haproxy(), ["-db", "-f", configuration], {
    env: environment(behind, both, controlPort, bulkPort),
    stdio: ["ignore", "ignore", "inherit"]
  })
  await listening(child, [controlPort, bulkPort])
  setDefaultCACertificates([...trusted, certificate])
  return {
    controlPort,
    bulkPort,
    stop: async () => {
      setDefaultCACertificates(trusted)
      await ended(child)
      await rm(folder, { recursive: true, force: true })
    }
  }
}

export const environment = (behind: Behind, certificate: string, controlPort: number, bulkPort: number) => ({
  // What any machine lets a process have.
  HOLDFAST_PROXY_CONNECTIONS: "2000",
  HOLDFAST_PROXY_CONTROL: `127.0.0.1:${controlPort}`,
  HOLDFAST_PROXY_CONTROL_CERTIFICATE: certificate,
  HOLDFAST_PROXY_BULK: `127.0.0.1:${bulkPort}`,
  HOLDFAST_PROXY_BULK_CERTIFICATE: certificate,
  HOLDFAST_PROXY_COMMAND_1: behind.command,
  HOLDFAST_PROXY_GRPC_1: behind.grpc,
  HOLDFAST_PROXY_QUERY_1: behind.query,
  HOLDFAST_PROXY_REALTIME_1: behind.realtime,
  HOLDFAST_PROXY_FILE_1: behind.file
})

/** Of this machine's loopback address alone. */
export const makeCertificate = async (folder: string) => {
  const [key, certificate, both] = ["key.pem", "certificate.pem", "both.pem"].map((name) => join(folder, name))
  if (key === undefined || certificate === undefined || both === undefined)
    throw new Error("three names make three paths")
  execFileSync(
    requireExecutable("openssl"),
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
      ...["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    ],
    { stdio: "ignore" }
  )
  const text = await readFile(certificate, "utf8")
  await writeFile(both, `${text}${await readFile(key, "utf8")}`, { mode: 0o600 })
  return { both, certificate: text }
}

const listening = async (child: ChildProcess, ports: ReadonlyArray<number>): Promise<void> => {
  for (const port of ports) {
    while (!(await accepts(port))) {
      if (child.exitCode !== null) throw new Error(`haproxy ended with ${child.exitCode}`)
    }
  }
}

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connectTcp({ port, host: "127.0.0.1" })
    const settle = (yes: boolean) => {
      socket.destroy()
      setTimeout(resolve, 20, yes)
    }
    socket.once("connect", () => settle(true)).once("error", () => settle(false))
  })

const ended = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, "exit")
  child.kill("SIGTERM")
  await exited
}

/** A connection on which a test writes what it likes, from an address of this machine. */
export const rawConnection = async (port: number, localAddress = "127.0.0.1"): Promise<TLSSocket> => {
  const line = connectTcp({ host: "127.0.0.1", port, localAddress })
  const socket = connect({ socket: line, host: "127.0.0.1", ALPNProtocols: ["http/1.1"] })
  await once(socket, "secureConnect")
  return socket
}
