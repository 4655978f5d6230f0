// What a file's timeline tells beyond its own lines: the state that each of them led to, and what the file waits for now. Both follow from
// the view, so they hold for views that were stored before anybody asked.
import type { FileState, TimelineStage } from "@holdfast/contracts/attachment/Stages"
import type { StageRecord } from "@holdfast/contracts/attachment/Views"
import { nextStage, stateAfter, stateBefore } from "./Attachment.ts"

type Line = Pick<StageRecord, "stage" | "outcome">

export const stateOfRecord = ({ outcome, stage }: Line): FileState => {
  if (outcome === "rejected" || outcome === "parked" || outcome === "withdrawn") return outcome
  if (stage === "rescan") return "released"
  return outcome === "retried" ? stateBefore[stage] : stateAfter[stage]
}

/** The stage that the file waits for, or is in; null when there is none. */
export const stageUnderWay = (file: {
  readonly state: FileState
  readonly timeline: ReadonlyArray<Line>
}): TimelineStage | null => {
  const rescan = file.timeline.findLast(({ stage }) => stage === "rescan")
  return file.state === "released" && rescan?.outcome === "requested" ? "rescan" : nextStage(file)
}
