// Half of the worlds; the other half beside it.
import { holdsInWorlds } from "./Worlds.ts"

holdsInWorlds("upper")
