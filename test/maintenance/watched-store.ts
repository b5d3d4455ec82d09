import {
  type ListOptions,
  MemoryStore,
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
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

/**
 * The store of a simulation: in memory, by the virtual clock, and watched. What nobody sees is seen here: a write whose answer was
 * lost, and a delete by a process that is dead now.
 */
export class WatchedStore extends MemoryStore {
  readonly #clock: VirtualClock;
  readonly #watcher: StoreWatcher;
  readonly #listsTimestamps: boolean;

  /** @param listsTimestamps - as a directory does; S3 lists when an object was stored, and no more. */
  constructor(clock: VirtualClock, watcher: StoreWatcher, listsTimestamps: boolean) {
    super({ now: () => new Date(clock.nowMs) });
    this.#clock = clock;
    this.#watcher = watcher;
    this.#listsTimestamps = listsTimestamps;
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
        ...(timestamp === undefined || !this.#listsTimestamps ? {} : { timestamp }),
      }));
    }
  }

  override async delete(key: string, options: RequestOptions = {}): Promise<void> {
    await super.delete(key, options);
    this.#watcher.deleted(key);
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
