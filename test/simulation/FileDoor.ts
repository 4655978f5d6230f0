// The file gateway as its clients meet it. An upload is accepted as the end of a tus upload is: the content first, then the journal. Downloads
// go through the real route.
import * as Download from "@holdfast/files/Download"
import type { JournalEntry } from "@holdfast/files/Journal"
import * as Transfers from "@holdfast/files/Transfers"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { type BlobCorrupt, Released, Withdrawn } from "@holdfast/storage/BlobStore"
import { Context, Effect, Layer, type Redacted, Stream } from "effect"
import { HttpRouter, HttpServerRequest, type HttpServerResponse } from "effect/http"
import { type DiskModel, simulatedBlobs, simulatedJournal, simulatedWithdrawn } from "./SimulatedDisk.ts"
import type { Guarded } from "./SimulatedServer.ts"

export interface Downloaded {
  readonly status: number
  readonly bytes: Uint8Array
}

export class FileDoor extends Context.Service<
  FileDoor,
  {
    readonly upload: (entry: JournalEntry, bytes: Uint8Array) => Effect.Effect<void, Unavailable | BlobCorrupt>
    readonly download: (url: string) => Effect.Effect<Downloaded>
  }
>()("test/FileDoor") {}

export const fileDoor = Effect.fnUntraced(function* (disk: Guarded, model: DiskModel, key: Redacted.Redacted<string>) {
  const quarantine = simulatedBlobs(disk, model.quarantine)
  const journal = simulatedJournal(disk, model)
  const transfers = yield* Layer.build(Transfers.layer())
  const services = Context.add(transfers, Released, simulatedBlobs(disk, model.released)).pipe(
    Context.add(Withdrawn, simulatedWithdrawn(disk, model))
  )
  const route = Effect.provide(yield* HttpRouter.toHttpEffect(Download.layer(key)), services)
  const door: FileDoor["Service"] = {
    upload: (entry, bytes) =>
      Effect.andThen(quarantine.put(entry.file.sha256, Stream.make(bytes)), journal.write(entry)),
    download: (url) =>
      Effect.scoped(
        Effect.flatMap(
          Effect.provideService(
            route,
            HttpServerRequest.HttpServerRequest,
            HttpServerRequest.fromWeb(new Request(url))
          ),
          received
        )
      ).pipe(Effect.catchCause(() => Effect.succeed({ status: 500, bytes: new Uint8Array() })))
  }
  return Context.make(FileDoor, door)
})

/** A body that breaks off is no download. */
const received = ({ body, status }: HttpServerResponse.HttpServerResponse) =>
  body._tag === "Stream"
    ? Effect.map(Stream.runCollect(body.stream), (chunks): Downloaded => ({ status, bytes: Buffer.concat(chunks) }))
    : Effect.succeed<Downloaded>({ status, bytes: new Uint8Array() })
