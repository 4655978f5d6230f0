// What became of a tus request, and how that is said in a status and headers.
import type { FileId } from "@holdfast/contracts/Ids"
import { uploadsPath } from "./Protocol.ts"

export type TusAnswer =
  | {
      readonly type: "Created"
      readonly id: FileId
      /** Of the bytes that came with the request; null when none were announced. */
      readonly offset: number | null
      readonly expiresAtMs: number | null
    }
  | { readonly type: "Appended"; readonly offset: number; readonly expiresAtMs: number | null }
  | {
      readonly type: "Found"
      readonly offset: number
      readonly sizeBytes: number
      /** Both as they were sent. */
      readonly declared: string | null
      readonly concat: string | null
    }
  | { readonly type: "Terminated" }

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
}

export const answerOf = (answer: TusAnswer): Answer => {
  switch (answer.type) {
    case "Created":
      return { status: 201, headers: { location: `${uploadsPath}/${answer.id}`, ...progress(answer) } }
    case "Appended":
      return { status: 204, headers: progress(answer) }
    case "Found":
      return { status: 200, headers: found(answer) }
    case "Terminated":
      return { status: 204, headers: {} }
  }
}

const progress = ({
  expiresAtMs,
  offset
}: {
  readonly offset: number | null
  readonly expiresAtMs: number | null
}) => ({
  ...(offset === null ? {} : { "upload-offset": String(offset) }),
  ...(expiresAtMs === null ? {} : { "upload-expires": new Date(expiresAtMs).toUTCString() })
})

const found = ({ concat, declared, offset, sizeBytes }: Extract<TusAnswer, { readonly type: "Found" }>) => ({
  "cache-control": "no-store",
  "upload-offset": String(offset),
  "upload-length": String(sizeBytes),
  ...(declared === null ? {} : { "upload-metadata": declared }),
  ...(concat === null ? {} : { "upload-concat": concat })
})
