// An outbox in a browser: survives reloads and the end of the browser. Each write is one transaction, asked to be on the disk. A Web Lock
// keeps other tabs out and goes with its tab; where there is none (a page without https) tabs must use different names.
import { inKeyOrder, type Store, StoreUnavailable } from "./Store.ts"

// The part of IndexedDB and Web Locks that is used: the types of the DOM would reach into the desk's own code.
interface Events {
  addEventListener(type: string, listener: () => void): void
}
interface Request<A> extends Events {
  readonly result: A
}
interface Objects {
  put(value: string, key: string): unknown
  delete(key: string): unknown
  getAll(): Request<ReadonlyArray<unknown>>
  getAllKeys(): Request<ReadonlyArray<unknown>>
}
interface Transaction extends Events {
  readonly error: { readonly message: string } | null
  objectStore(name: string): Objects
}
interface Database extends Events {
  createObjectStore(name: string): unknown
  transaction(name: string, mode: "readonly" | "readwrite", options?: { readonly durability: "strict" }): Transaction
  close(): void
}
export interface IndexedDb {
  open(name: string, version: number): Request<Database>
}
interface Locks {
  request(
    name: string,
    options: { readonly ifAvailable: true },
    hold: (lock: unknown) => Promise<void>
  ): Promise<unknown>
}

const objects = "kept"

export const indexedDbStore = (name: string, factory: IndexedDb = ofThisPage()): Store => {
  let database: Database | null = null
  let unlock = () => {}
  const opened = (): Database => {
    if (database === null) throw new StoreUnavailable({ reason: "failed", detail: "it is not open" })
    return database
  }
  return {
    open: async () => {
      unlock = await takeLock(`holdfast/${name}`)
      try {
        database = await openDatabase(factory, name)
        return await readAll(database)
      } catch (error) {
        unlock()
        throw asUnavailable(error)
      }
    },
    write: async (changes) => {
      try {
        const transaction = opened().transaction(objects, "readwrite", { durability: "strict" })
        const kept = transaction.objectStore(objects)
        for (const [key, text] of changes) {
          if (text === null) kept.delete(key)
          else kept.put(text, key)
        }
        await completed(transaction)
      } catch (error) {
        throw asUnavailable(error)
      }
    },
    close: async () => {
      // Closing waits for the transactions that were begun.
      database?.close()
      database = null
      unlock()
    }
  }
}

const ofThisPage = (): IndexedDb => {
  const found: unknown = Reflect.get(globalThis, "indexedDB")
  if (isIndexedDb(found)) return found
  throw new StoreUnavailable({ reason: "failed", detail: "there is no IndexedDB here" })
}

const isIndexedDb = (value: unknown): value is IndexedDb =>
  typeof value === "object" && value !== null && "open" in value && typeof value.open === "function"

const isLocks = (value: unknown): value is Locks =>
  typeof value === "object" && value !== null && "request" in value && typeof value.request === "function"

/** What lets it go again. */
const takeLock = async (name: string): Promise<() => void> => {
  const navigator: unknown = Reflect.get(globalThis, "navigator")
  const locks = typeof navigator === "object" && navigator !== null ? Reflect.get(navigator, "locks") : undefined
  if (!isLocks(locks)) return () => {}
  const held = Promise.withResolvers<void>()
  const taken = Promise.withResolvers<boolean>()
  void locks
    .request(name, { ifAvailable: true }, (lock) => {
      taken.resolve(lock !== null)
      return lock === null ? Promise.resolve() : held.promise
    })
    .catch(taken.reject)
  if (await taken.promise) return held.resolve
  throw new StoreUnavailable({ reason: "locked", detail: "another tab has it open" })
}

const openDatabase = (factory: IndexedDb, name: string): Promise<Database> =>
  new Promise((resolve, reject) => {
    const request = factory.open(name, 1)
    request.addEventListener("upgradeneeded", () => request.result.createObjectStore(objects))
    request.addEventListener("success", () => resolve(request.result))
    request.addEventListener("error", () => reject(new Error(`the database ${name} cannot be opened`)))
    request.addEventListener("blocked", () => reject(new Error(`the database ${name} is in use`)))
  })

const readAll = async (database: Database): Promise<ReadonlyMap<string, string>> => {
  const transaction = database.transaction(objects, "readonly")
  const kept = transaction.objectStore(objects)
  const [keys, texts] = [kept.getAllKeys(), kept.getAll()]
  await completed(transaction)
  return inKeyOrder(new Map(keys.result.map((key, index) => [String(key), String(texts.result[index])])))
}

const completed = (transaction: Transaction): Promise<void> =>
  new Promise((resolve, reject) => {
    const fail = () => reject(new Error(transaction.error?.message ?? "the transaction was given up"))
    transaction.addEventListener("complete", resolve)
    transaction.addEventListener("error", fail)
    transaction.addEventListener("abort", fail)
  })

const asUnavailable = (error: unknown): StoreUnavailable =>
  error instanceof StoreUnavailable
    ? error
    : new StoreUnavailable({ reason: "failed", detail: error instanceof Error ? error.message : String(error) })
