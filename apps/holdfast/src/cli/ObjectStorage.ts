// What the doctor says of object storage: whether it is there, has the bucket, and takes these keys for all that the desk does with them.
import { Settings as ProcessSettings } from "@holdfast/process/Config"
import { storageKeys } from "@holdfast/process/StorageKeys"
import { examine } from "@holdfast/storage/S3Examination"
import { Effect, Option } from "effect"
import type { Settings } from "../Settings.ts"
import type { Finding } from "./Doctor.ts"

const what = "object storage"

export const checkObjectStorage = (settings: Settings): Effect.Effect<Finding> =>
  Option.match(settings.storage, {
    onNone: () =>
      Effect.succeed({ what, well: true, told: "released files lie on the disk (HOLDFAST_STORAGE_URL is not set)" }),
    onSome: (place) =>
      storageKeys.pipe(
        Effect.provideService(ProcessSettings, settings),
        Effect.flatMap((keys) => examine({ ...place, ...keys })),
        Effect.map((fault) => ({
          what,
          well: fault === null,
          told: fault ?? `lists, takes, gives and removes in ${place.bucket} at ${place.endpoint}`
        })),
        Effect.catch(({ message }) => Effect.succeed({ what, well: false, told: message }))
      )
  })
