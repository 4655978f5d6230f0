// The hostile set with the content policy as the scanner.
import { hostileSuite } from "./HostileSuite.ts"
import { tools } from "./PipelineWorld.ts"

hostileSuite("content policy", tools, true)
