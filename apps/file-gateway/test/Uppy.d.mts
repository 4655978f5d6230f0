// What the tests use of Uppy.
export interface Uploaded {
  readonly name?: string
  readonly uploadURL?: string
}

export class Uppy {
  use(plugin: unknown, options: object): this
  addFile(file: { readonly name: string; readonly type: string; readonly data: Blob }): string
  upload(): Promise<
    { readonly successful?: ReadonlyArray<Uploaded>; readonly failed?: ReadonlyArray<Uploaded> } | undefined
  >
  destroy(): void
}

export const Tus: unknown
