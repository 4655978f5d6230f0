// What an inspection finds, and how it ends early. The first bad thing ends it; what cannot be looked into is kept, because something bad
// may still follow, and bad counts for more.
import type { RejectionReason } from "@holdfast/contracts/attachment/Stages"

export interface Finding {
  readonly outcome: "bad" | "opaque"
  readonly reason: RejectionReason
  readonly detail: string
}

/** Ends the inspection with its finding. */
export class Found extends Error {
  readonly finding: Finding
  constructor(finding: Finding) {
    super(finding.detail)
    this.finding = finding
  }
}

export const bad = (reason: RejectionReason, detail: string): Found => new Found({ outcome: "bad", reason, detail })
export const beyond = (detail: string): Found => new Found({ outcome: "opaque", reason: "limits_exceeded", detail })
