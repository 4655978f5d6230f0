// @ts-check
// Ids that the page makes: UUIDv7 (RFC 9562). Not `crypto.randomUUID`, which a browser has only where the page came encrypted or from
// its own machine.

/** @param {number} nowMs @param {Uint8Array} random sixteen bytes */
export const uuidV7 = (nowMs, random) => {
  const bytes = [...random]
  const time = nowMs.toString(16).padStart(12, "0")
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f)
  const rest = bytes.slice(6).map((byte) => byte.toString(16).padStart(2, "0"))
  return `${time.slice(0, 8)}-${time.slice(8)}-${rest[0]}${rest[1]}-${rest[2]}${rest[3]}-${rest.slice(4).join("")}`
}

export const freshId = () => uuidV7(Date.now(), crypto.getRandomValues(new Uint8Array(16)))
