// Plays a decoder that takes all the memory it can get, and ends as native code does when it is refused more.
const kept: Array<Buffer> = []
try {
  for (;;) kept.push(Buffer.alloc(64 << 20, 1))
} catch {
  process.abort()
}
