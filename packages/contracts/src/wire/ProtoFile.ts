// Where the generated gRPC service definition lies: a server loads it, a client may be made from it.
import { fileURLToPath } from "node:url"

export const protoFile: string = fileURLToPath(new URL("holdfast.proto", import.meta.url))
