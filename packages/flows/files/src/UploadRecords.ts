// What is known of each upload besides its bytes: one JSON file each, replaced as a whole or not at all.
import { readdir, readFile, rm } from "node:fs/promises"
import { join } from "node:path"
import { FileId, PrincipalId } from "@holdfast/contracts/Ids"
import { Result, Schema } from "effect"
import { isMissing, writeWhole } from "./DiskTrouble.ts"

export const UploadRecord = Schema.Struct({
  id: FileId,
  size: Schema.Natural,
  /** The facts of a file. A part has none: it never becomes a file by itself, and nothing that finishes uploads takes it for one. */
  metadata: Schema.Record(Schema.String, Schema.NullOr(Schema.String)),
  creation_date: Schema.String,
  /** `Upload-Metadata` as it was sent. */
  declared: Schema.optionalKey(Schema.String),
  part: Schema.optionalKey(Schema.Struct({ ownerId: PrincipalId })),
  /** `Upload-Concat` as it was sent, of an upload that was made of parts. */
  concat: Schema.optionalKey(Schema.String)
})
export type UploadRecord = typeof UploadRecord.Type

export const ownerOf = ({ metadata, part }: UploadRecord): string | null => part?.ownerId ?? metadata.ownerId ?? null

const decodeRecord = Schema.decodeUnknownResult(Schema.fromJsonString(UploadRecord))
const isId = Schema.is(FileId)
const suffix = ".json"

export class UploadRecords {
  readonly #folder: string
  constructor(folder: string) {
    this.#folder = folder
  }

  /** Undefined also for what cannot be read, and for what is not an upload's id: no path is ever made of it. */
  async get(id: string): Promise<UploadRecord | undefined> {
    if (!isId(id)) return undefined
    try {
      const record = decodeRecord(await readFile(this.#pathOf(id), "utf8"))
      return Result.isSuccess(record) ? record.success : undefined
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  /** On the disk, folder and all, once this is done; so is every new name in the folder. */
  async set(record: UploadRecord): Promise<void> {
    await writeWhole(this.#pathOf(record.id), JSON.stringify(record))
  }

  async delete(id: string): Promise<void> {
    await rm(this.#pathOf(id), { force: true })
  }

  async list(): Promise<ReadonlyArray<FileId>> {
    try {
      return (await readdir(this.#folder))
        .filter((name) => name.endsWith(suffix))
        .map((name) => name.slice(0, -suffix.length))
        .filter(isId)
    } catch (error) {
      if (isMissing(error)) return []
      throw error
    }
  }

  #pathOf(id: string): string {
    return join(this.#folder, `${id}${suffix}`)
  }
}
