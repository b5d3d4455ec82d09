/**
 * The contract between us and every object store: a flat map from keys to immutable-looking bytes.
 *
 * What every implementation holds (and `conformance.ts` tests):
 *
 * - **All or nothing.** A reader sees the old object, the new object, or none: never a part, whatever is killed when.
 * - **Durability point.** When `put` or `putIfAbsent` resolves as created, the object survives a crash of either side.
 * - **Errors are answers.** `NOT_FOUND`, `FORBIDDEN`, `UNREACHABLE`, `THROTTLED` … are told apart (see `errors.ts`). After an
 *   error other than `NOT_FOUND`, `FORBIDDEN` and `INVALID_ARGUMENT` a write may or may not have happened.
 * - **One attempt.** An implementation asks the store once; retrying, counting, limiting are decorators around it.
 * - **Abort.** A signal that is aborted rejects with its own reason, unwrapped, and a call whose signal was aborted before it began never reaches the store.
 *
 * Left to the caller: who may write where (there are no locks), and the order of keys in listings of stores that say they have none.
 */
export interface ObjectStore {
  /** What kind of store this is, for the few who must know: the key layout of a replica differs between them. */
  readonly properties: ObjectStoreProperties;

  /** Writes an object, replacing what was there. The body may be opened more than once. */
  put(key: string, body: ObjectBody, options?: PutOptions): Promise<void>;

  /**
   * Writes an object only if there is none under the key.
   *
   * @returns `created`, or `exists` when another object was there first; then nothing was changed. A caller that may have
   *   sent the same request before reads the object back to tell its own write from a stranger's.
   */
  putIfAbsent(key: string, body: ObjectBody, options?: PutOptions): Promise<"created" | "exists">;

  /**
   * Opens an object for reading. The answer's `body` must be consumed or returned (`for await` does both), or its connection stays open.
   * The chunks belong to the caller. A body that ends before `info.size` bytes (of the range) throws `BODY_MISMATCH`.
   *
   * @throws {ObjectStoreError} `NOT_FOUND` if there is no such object.
   */
  get(key: string, options?: GetOptions): Promise<ObjectReading>;

  /** @returns what is known of the object without reading it. @throws {ObjectStoreError} `NOT_FOUND`. */
  head(key: string, options?: RequestOptions): Promise<ObjectInfo>;

  /**
   * Lists all objects whose key begins with `prefix` (a plain string prefix, no directory semantics), a page at a time.
   * Each page is one request. An empty result is an empty listing and not an error, also where a directory does not exist.
   *
   * @param options.startAfter - only keys behind this one, in byte order. Only for stores whose `properties.listingSorted` is true.
   */
  list(prefix: string, options?: ListOptions): AsyncIterable<readonly ObjectInfo[]>;

  /** Deletes an object. Deleting what is not there is a success. */
  delete(key: string, options?: RequestOptions): Promise<void>;

  /**
   * Deletes any number of objects, by few requests where the store can do that, else by one for each, a few of them at once. Resolves when
   * all are gone. What is not there is a success, and a key may be named twice.
   *
   * There is no order: whatever it is broken off by, any of them may be gone and any of them there.
   *
   * @throws {ObjectStoreError} whose `leftKeys` are those that are not known to be gone; all others are. A key that is none is `INVALID_ARGUMENT`,
   *   before anything is deleted. After an abort nothing is known of any.
   */
  deleteAll(keys: readonly string[], options?: RequestOptions): Promise<void>;
}

export interface ObjectStoreProperties {
  /** `directory` stores lay replicas out as Litestream's file back end does, all others as its S3 back end. */
  readonly kind: "directory" | "memory" | "s3";
  /** Where this is, for messages: a URL without credentials. */
  readonly location: string;
  /** Whether listings come in byte order of the keys. */
  readonly listingSorted: boolean;
  /**
   * How far `putIfAbsent` can be trusted between two writers: `atomic` means exactly one of them is told `created`.
   * `unproved` means that a second writer is detected at best.
   */
  readonly createIfAbsent: "atomic" | "unproved";
}

/**
 * Bytes to store. The second form is for bodies too large for memory. It is opened once or more for each request: a store may need
 * its hash before it sends it, and a retry begins anew. It has the same bytes each time. The chunks are read before the next is asked for, and not kept.
 */
export type ObjectBody =
  | Uint8Array
  | {
      /** Exact length in bytes. A stream of another length fails with `BODY_MISMATCH` and stores nothing. */
      readonly size: number;
      /** @param use - `hash`: these bytes are only looked at here. Without it they go to the store, and may be held back to a rate. */
      open(use?: BodyUse): AsyncIterable<Uint8Array>;
    };

export type BodyUse = "hash";

export interface RequestOptions {
  readonly signal?: AbortSignal;
}

export interface PutOptions extends RequestOptions {
  /** Small text kept with the object. Names: lower case letters, digits, hyphens. Values: printable ASCII. At most 2,000 bytes in all. */
  readonly metadata?: Readonly<Record<string, string>>;
  /**
   * The moment that the content is of, with millisecond precision; otherwise the time of the write. Litestream restores by it:
   * S3 keeps it as the metadata `litestream-timestamp`, a directory as the file's mtime.
   */
  readonly timestamp?: Date;
}

export interface GetOptions extends RequestOptions {
  /** Only these bytes: from `start` (0-based), `length` bytes or to the end. A `start` at or beyond the end is `INVALID_ARGUMENT`. */
  readonly range?: { readonly start: number; readonly length?: number };
}

export interface ListOptions extends RequestOptions {
  readonly startAfter?: string;
}

export interface ObjectInfo {
  readonly key: string;
  /** Length of the whole object in bytes, also when a range was read. */
  readonly size: number;
  /** When the store wrote it, by the store's own clock. */
  readonly lastModified: Date;
  /**
   * The store's own clock when it answered, to the second in S3, where an answer without it is possible. `storeTime − lastModified` is
   * the age of the object, whatever this machine's clock says.
   */
  readonly storeTime?: Date;
  /** As given to `put`. Listings of S3 do not have it; `get` and `head` do. */
  readonly timestamp?: Date;
  /** As given to `put`. Listings do not have it; `get` and `head` do. */
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface ObjectReading {
  readonly info: ObjectInfo;
  readonly body: AsyncIterable<Uint8Array>;
}
