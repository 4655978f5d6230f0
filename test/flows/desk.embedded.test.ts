// The desk's story on the embedded default, as `npm start` runs it.
import { deskFlow } from "./DeskFlow.ts"

deskFlow("embedded")
