// Plays a decoder that answers without end.
const talk = (): void => {
  process.stdout.write("x".repeat(65_536), talk)
}
talk()
