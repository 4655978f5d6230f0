// Plays a decoder that a hostile image keeps busy for ever, and that leaves a child of its own behind.
import { spawn } from "node:child_process"

spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" })
for (;;) Math.sqrt(2)
