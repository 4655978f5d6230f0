// Encoded events that several subscriptions catch up on: after a gateway restarts, a thousand clients resume the same list from
// about the same cursor. Oldest out first, bounded by bytes.
export type EncodedCache = (key: string, encode: () => Uint8Array) => Uint8Array

export const makeEncodedCache = (bytesMax: number): EncodedCache => {
  const kept = new Map<string, Uint8Array>()
  let bytes = 0
  return (key, encode) => {
    const known = kept.get(key)
    if (known !== undefined) return known
    const encoded = encode()
    kept.set(key, encoded)
    bytes += encoded.byteLength + key.length
    for (const [oldest, dropped] of kept) {
      if (bytes <= bytesMax) break
      kept.delete(oldest)
      bytes -= dropped.byteLength + oldest.length
    }
    return encoded
  }
}
