import {
  type ListOptions,
  MemoryStore,
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
  ObjectStoreError,
  type ObjectStoreProperties,
  type PutOptions,
  type RequestOptions,
} from "@vaultwarden-stream/object-store";
import type { VirtualClock } from "./virtual-clock.ts";

/** An object as the store keeps it. */
export interface StoredObject {
  readonly key: string;
  readonly size: number;
  /** By the store's clock. */
  readonly storedAtMs: number;
  readonly options: PutOptions;
}

/** Is told what happened in the store, whoever did it and whatever they were told. */
export interface StoreWatcher {
  stored(object: StoredObject, bytes: () => Promise<Uint8Array>): Promise<void>;
  deleted(key: string): void;
}

export interface WatchedStoreOptions {
  /** As a directory does; S3 lists when an object was stored, and no more. */
  readonly listsTimestamps: boolean;
  /** Whether a request to delete many, of which this is the first, is broken off after half of them. */
  readonly breaksOff: (key: string) => boolean;
}

/**
 * The store of a simulation: in memory, by the virtual clock, and watched. What nobody sees is seen here: a write whose answer was
 * lost, and a delete by a process that is dead now.
 */
export class WatchedStore extends MemoryStore {
  readonly #clock: VirtualClock;
  readonly #watcher: StoreWatcher;
  readonly #options: WatchedStoreOptions;
  override readonly properties: ObjectStoreProperties;

  constructor(clock: VirtualClock, watcher: StoreWatcher, options: WatchedStoreOptions) {
    super({ now: () => new Date(clock.nowMs) });
    this.#clock = clock;
    this.#watcher = watcher;
    this.#options = options;
    this.properties = {
      kind: options.listsTimestamps ? "memory" : "s3",
      location: "memory:",
      listingSorted: true,
      createIfAbsent: "atomic",
    };
  }

  override async put(key: string, body: ObjectBody, options: PutOptions = {}): Promise<void> {
    await super.put(key, body, options);
    await this.#stored(key, body, options);
  }

  override async putIfAbsent(
    key: string,
    body: ObjectBody,
    options: PutOptions = {},
  ): Promise<"created" | "exists"> {
    const outcome = await super.putIfAbsent(key, body, options);
    if (outcome === "created") await this.#stored(key, body, options);
    return outcome;
  }

  override async *list(
    prefix: string,
    options: ListOptions = {},
  ): AsyncGenerator<readonly ObjectInfo[], void, undefined> {
    for await (const page of super.list(prefix, options)) {
      const storeTime = new Date(this.#clock.nowMs);
      yield page.map(({ timestamp, ...info }) => ({
        ...info,
        storeTime,
        ...(timestamp === undefined || !this.#options.listsTimestamps ? {} : { timestamp }),
      }));
    }
  }

  override async delete(key: string, options: RequestOptions = {}): Promise<void> {
    await super.delete(key, options);
    this.#watcher.deleted(key);
  }

  override async deleteAll(keys: readonly string[], options: RequestOptions = {}): Promise<void> {
    const [first] = keys;
    if (first === undefined || keys.length < 2 || !this.#options.breaksOff(first)) {
      return await super.deleteAll(keys, options);
    }
    const half = Math.floor(keys.length / 2);
    await super.deleteAll(keys.slice(0, half), options);
    const leftKeys = keys.slice(half);
    const details = { operation: "deleteAll", key: first, leftKeys };
    throw new ObjectStoreError("STORE_FAILED", `${leftKeys.length} objects are left`, details);
  }

  async #stored(key: string, body: ObjectBody, options: PutOptions): Promise<void> {
    const size = body instanceof Uint8Array ? body.length : body.size;
    const object = { key, size, storedAtMs: this.#clock.nowMs, options };
    await this.#watcher.stored(object, () => readAll(this, key));
  }
}

/** The whole object in one piece. */
export async function readAll(store: ObjectStore, key: string): Promise<Uint8Array> {
  const { body } = await store.get(key);
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}
