import { collectBody, releasableBody } from "./body.ts";
import { deleteOneByOne, deletingAll } from "./delete-all.ts";
import { ObjectStoreError } from "./errors.ts";
import { checkKey, checkPrefix } from "./object-key.ts";
import type {
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectReading,
  ObjectStore,
  ObjectStoreProperties,
  PutOptions,
  RequestOptions,
} from "./object-store.ts";
import { type ByteSpan, checkPutOptions, metadataToKeep, resolveRange } from "./request-checks.ts";

const readChunkBytes = 64 * 1024;
const pageKeyCountMax = 1000;

interface StoredObject {
  readonly info: ObjectInfo;
  readonly bytes: Uint8Array;
}

export interface MemoryStoreOptions {
  /** The store's own clock, for `lastModified` and `storeTime`. */
  readonly now?: () => Date;
}

/** Objects in memory, for tests and simulations. Durable for as long as the instance lives. */
export class MemoryStore implements ObjectStore {
  readonly properties: ObjectStoreProperties = {
    kind: "memory",
    location: "memory:",
    listingSorted: true,
    createIfAbsent: "atomic",
  };
  readonly #objects = new Map<string, StoredObject>();
  readonly #now: () => Date;

  constructor(options: MemoryStoreOptions = {}) {
    this.#now = options.now ?? (() => new Date());
  }

  async put(key: string, body: ObjectBody, options: PutOptions = {}): Promise<void> {
    this.#objects.set(key, await this.#receive("put", key, body, options));
  }

  async putIfAbsent(
    key: string,
    body: ObjectBody,
    options: PutOptions = {},
  ): Promise<"created" | "exists"> {
    const object = await this.#receive("putIfAbsent", key, body, options);
    if (this.#objects.has(key)) return "exists";
    this.#objects.set(key, object);
    return "created";
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectReading> {
    const { info, bytes } = this.#find("get", key, options);
    const span = resolveRange(key, bytes.length, options.range);
    return {
      info: { ...info, storeTime: this.#now() },
      body: releasableBody(readSpan(bytes, span, options.signal), () => undefined),
    };
  }

  async head(key: string, options: RequestOptions = {}): Promise<ObjectInfo> {
    return { ...this.#find("head", key, options).info, storeTime: this.#now() };
  }

  async *list(
    prefix: string,
    options: ListOptions = {},
  ): AsyncGenerator<readonly ObjectInfo[], void, undefined> {
    options.signal?.throwIfAborted();
    checkPrefix("list", prefix);
    const startAfter = options.startAfter ?? "";
    const keys = [...this.#objects.keys()]
      .filter((key) => key.startsWith(prefix) && key > startAfter)
      .sort();
    for (let first = 0; first < keys.length; first += pageKeyCountMax) {
      options.signal?.throwIfAborted();
      const page = keys.slice(first, first + pageKeyCountMax);
      yield page.flatMap((key) => this.#objects.get(key)?.info ?? []).map(withoutMetadata);
    }
  }

  async delete(key: string, options: RequestOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    checkKey("delete", key);
    this.#objects.delete(key);
  }

  deleteAll(keys: readonly string[], options: RequestOptions = {}): Promise<void> {
    return deletingAll(keys, options, (left) => deleteOneByOne(this, left, left, options));
  }

  async #receive(
    operation: string,
    key: string,
    body: ObjectBody,
    options: PutOptions,
  ): Promise<StoredObject> {
    options.signal?.throwIfAborted();
    checkKey(operation, key);
    checkPutOptions(operation, key, options);
    const bytes = await collectBody(operation, key, body, options.signal);
    options.signal?.throwIfAborted();
    const { timestamp } = options;
    const metadata = metadataToKeep(options);
    const info: ObjectInfo = {
      key,
      size: bytes.length,
      lastModified: this.#now(),
      ...(timestamp === undefined ? {} : { timestamp: new Date(timestamp) }),
      ...(metadata === undefined ? {} : { metadata: { ...metadata } }),
    };
    return { info, bytes };
  }

  #find(operation: string, key: string, options: RequestOptions): StoredObject {
    options.signal?.throwIfAborted();
    checkKey(operation, key);
    const object = this.#objects.get(key);
    if (object === undefined) {
      throw new ObjectStoreError("NOT_FOUND", "there is no such object", { operation, key });
    }
    return object;
  }
}

function withoutMetadata({ metadata: _, ...info }: ObjectInfo): ObjectInfo {
  return info;
}

async function* readSpan(
  bytes: Uint8Array,
  span: ByteSpan,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let position = span.start; position < span.end; position += readChunkBytes) {
    signal?.throwIfAborted();
    // A copy, since chunks belong to the reader.
    yield bytes.slice(position, Math.min(position + readChunkBytes, span.end));
  }
}
