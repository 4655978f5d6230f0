// An S3 server on a folder, as a process of its own that a test can kill: says its port on standard output once it answers.
import S3rver from "@20minutes/s3rver"

const [directory = "", port = "0"] = process.argv.slice(2)
const server = new S3rver({
  address: "127.0.0.1",
  port: Number(port),
  directory,
  silent: true,
  vhostBuckets: false,
  configureBuckets: [{ name: "holdfast" }]
})
const address = await server.run()
process.stdout.write(`${address.port}\n`)
// Without whoever started it there is nobody to end it.
process.stdin.resume().on("end", () => process.exit(0))
