// Which addresses the desk calls on somebody else's word: the public ones. A name is judged by every address that it has at the moment of
// connecting, and the connection goes to an address that was judged, so that a name which changes in between gains nothing.
import { type LookupAddress, lookup } from "node:dns"
import { BlockList, isIP, type LookupFunction } from "node:net"

// IANA's special-purpose registries: this host, private, shared, loopback, link-local, documentation, benchmarks, multicast, reserved.
const ipv4 = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3]
] as const

// The same, and the ranges that carry an IPv4 address inside (NAT64, 6to4, Teredo).
const ipv6 = [
  ["::", 127],
  ["64:ff9b::", 96],
  ["64:ff9b:1::", 48],
  ["100::", 64],
  ["2001::", 32],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["fc00::", 7],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8]
] as const

const internal = new BlockList()
for (const [address, bits] of ipv4) internal.addSubnet(address, bits, "ipv4")
for (const [address, bits] of ipv6) internal.addSubnet(address, bits, "ipv6")

export const isInternal = (address: string): boolean => {
  const version = isIP(address)
  return version === 0 || internal.check(address, version === 4 ? "ipv4" : "ipv6")
}

export class AddressForbidden extends Error {
  readonly code = "ADDRESS_FORBIDDEN"
}

/** The host of a URL when it is an address: those are never looked up. */
export const literalAddress = (url: URL): string | null => {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
  return isIP(host) === 0 ? null : host
}

/** Looks a name up and refuses it when any of its addresses is internal. */
export const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error !== null) return callback(error, [])
    const refused = addresses.find(({ address }) => isInternal(address))
    if (refused !== undefined) return callback(new AddressForbidden(`${hostname} is an internal address`), [])
    answer(addresses, options.all === true, callback)
  })
}

const answer = (
  addresses: ReadonlyArray<LookupAddress>,
  all: boolean,
  callback: Parameters<LookupFunction>[2]
): void => {
  const [first] = addresses
  if (all || first === undefined) callback(null, [...addresses])
  else callback(null, first.address, first.family)
}
