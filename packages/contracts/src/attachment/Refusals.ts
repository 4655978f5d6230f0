// Why a file command was refused.
import { Schema } from "effect"
import { FileId } from "../Ids.ts"
import { FileStage, FileState } from "./Stages.ts"

export class FileNotFound extends Schema.TaggedError<FileNotFound>()(
  "FileNotFound",
  { fileId: FileId },
  { httpApiStatus: 404, title: "There is no such file, or you may not see it." }
) {}

export class FileAlreadyRegistered extends Schema.TaggedError<FileAlreadyRegistered>()(
  "FileAlreadyRegistered",
  { fileId: FileId },
  { httpApiStatus: 409, title: "This upload is registered already with other facts." }
) {}

export class FileNotReleased extends Schema.TaggedError<FileNotReleased>()(
  "FileNotReleased",
  { fileId: FileId, state: FileState },
  { httpApiStatus: 409, title: "Only a released file is looked at again." }
) {}

export class FileStageNotExpected extends Schema.TaggedError<FileStageNotExpected>()(
  "FileStageNotExpected",
  { fileId: FileId, state: FileState, stage: FileStage },
  { httpApiStatus: 409, title: "The file is not waiting for this stage." }
) {}
