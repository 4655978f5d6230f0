// A disk in memory that loses power. What was written, made, renamed or removed is there for everybody at once, and outlives a power cut only
// if the file, or the folder that holds its name, was flushed after it. A process can be stopped before any step of its own.
import { basename, dirname } from "node:path"
import type { DiskFile, DiskFiles } from "../src/DiskFiles.ts"

class Content {
  bytes = Buffer.alloc(0)
  flushed = Buffer.alloc(0)
  mtimeMs: number
  constructor(mtimeMs: number) {
    this.mtimeMs = mtimeMs
  }
}

class Folder {
  names = new Map<string, Content | Folder>()
  flushed = new Map<string, Content | Folder>()
}

const failure = (code: string) => Object.assign(new Error(code), { code })

type Before = (step: string) => Promise<void>

export class DiskModel {
  nowMs = 1_000_000_000_000
  readonly #root = new Folder()

  /** All that was not flushed is gone. */
  cutPower(folder: Folder = this.#root): void {
    folder.names = new Map(folder.flushed)
    for (const node of folder.names.values()) {
      if (node instanceof Folder) this.cutPower(node)
      else node.bytes = node.flushed
    }
  }

  /** Every file. */
  paths(folder: Folder = this.#root, path = ""): ReadonlyArray<string> {
    return [...folder.names].flatMap(([name, node]) =>
      node instanceof Folder ? this.paths(node, `${path}/${name}`) : [`${path}/${name}`]
    )
  }

  /** As a process sees it that does each step only after `before` lets it. */
  files(before: Before): DiskFiles {
    const step = async <A>(name: string, run: () => A): Promise<A> => {
      await before(name)
      return run()
    }
    return {
      create: (path) => step("create", () => handle(this.#create(path), before)),
      open: (path) => step("open", () => handle(this.#content(path), before)),
      makeFolder: (path) => step("makeFolder", () => this.#makeFolder(path)),
      syncFolder: (path) => step("syncFolder", () => this.#syncFolder(path)),
      rename: (from, to) => step("rename", () => this.#rename(from, to)),
      link: (from, to) => step("link", () => this.#link(from, to)),
      remove: (path) => step("remove", () => void this.#folder(dirname(path)).names.delete(basename(path))),
      stat: (path) => step("stat", () => this.#stat(path)),
      touch: (path) =>
        step("touch", () => {
          this.#content(path).mtimeMs = this.nowMs
        }),
      names: (path) => step("names", () => [...this.#folder(path).names.keys()]),
      freeBytes: () => step("freeBytes", () => Number.MAX_SAFE_INTEGER),
      nowMs: () => step("nowMs", () => this.nowMs)
    }
  }

  #folder(path: string): Folder {
    if (path === "/") return this.#root
    const found = this.#folder(dirname(path)).names.get(basename(path))
    if (!(found instanceof Folder)) throw failure("ENOENT")
    return found
  }

  #content(path: string): Content {
    const found = this.#folder(dirname(path)).names.get(basename(path))
    if (!(found instanceof Content)) throw failure("ENOENT")
    return found
  }

  #stat(path: string): { readonly size: number; readonly mtimeMs: number } {
    const found = this.#folder(dirname(path)).names.get(basename(path))
    if (found === undefined) throw failure("ENOENT")
    return found instanceof Folder
      ? { size: 0, mtimeMs: this.nowMs }
      : { size: found.bytes.length, mtimeMs: found.mtimeMs }
  }

  #makeFolder(path: string): void {
    if (path === "/") return
    this.#makeFolder(dirname(path))
    const { names } = this.#folder(dirname(path))
    if (!names.has(basename(path))) names.set(basename(path), new Folder())
  }

  #syncFolder(path: string): void {
    const folder = this.#folder(path)
    folder.flushed = new Map(folder.names)
  }

  #create(path: string): Content {
    const content = new Content(this.nowMs)
    this.#add(path, content)
    return content
  }

  #link(from: string, to: string): void {
    this.#add(to, this.#content(from))
  }

  #rename(from: string, to: string): void {
    const content = this.#content(from)
    this.#folder(dirname(to)).names.set(basename(to), content)
    this.#folder(dirname(from)).names.delete(basename(from))
  }

  #add(path: string, content: Content): void {
    const { names } = this.#folder(dirname(path))
    if (names.has(basename(path))) throw failure("EEXIST")
    names.set(basename(path), content)
  }
}

const handle = (content: Content, before: Before): DiskFile => ({
  write: async (chunk) => {
    await before("write")
    content.bytes = Buffer.concat([content.bytes, chunk])
  },
  read: async (into, position) => {
    await before("read")
    return content.bytes.copy(into, 0, position)
  },
  sync: async () => {
    await before("sync")
    content.flushed = content.bytes
  },
  close: () => before("close")
})
