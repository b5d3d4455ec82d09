import pRetry, { AbortError } from "p-retry";
import { bodySize, haveSameBytes, leaveBody, readBody, transformBody } from "./body.ts";
import { ObjectStoreError } from "./errors.ts";
import { ForwardingStore } from "./forwarding-store.ts";
import type {
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectReading,
  ObjectStore,
  PutOptions,
  RequestOptions,
} from "./object-store.ts";

/** A failure that is going to be retried. */
export interface RetryNotice {
  readonly operation: string;
  /** The key, the prefix of a listing, or the first of many keys. */
  readonly key: string;
  readonly error: ObjectStoreError;
  /** The attempt that failed, from 1. */
  readonly attempt: number;
  /** Time until the next attempt, in milliseconds. */
  readonly delayMs: number;
}

export interface RetryOptions {
  /** The last attempt starts after this time at the latest, in milliseconds from the request, or from the break of a body or listing. */
  readonly budgetMs: number;
  /** Delay before the second attempt; each further one doubles it. Each is lengthened at random, up to double. Default 100. */
  readonly delayMsMin?: number;
  /** The delay grows no further. Default 10,000. */
  readonly delayMsMax?: number;
  /** Called before each delay, so that somebody can be told. What it throws ends the request. */
  readonly onRetry?: (notice: RetryNotice) => void;
}

/**
 * Sends requests again whose error is `retryable`, and honours the time after which a store wants to be asked again.
 *
 * - A body of a `get` that breaks goes on at the byte that was reached. If the object was replaced meanwhile (another size or
 *   time), the rest would not fit: `BODY_MISMATCH`, for the caller to begin again.
 * - A listing that breaks goes on behind the last page.
 * - `putIfAbsent` answers `exists` after a failed attempt only if the object is not our own: it is read back, and the same bytes
 *   with the same metadata are ours (`created`). Who must tell itself from a writer of the same bytes puts a nonce in either.
 * - `deleteAll` asks again for what is left.
 * - A write that fails in the end may or may not have happened.
 */
export class RetryingStore extends ForwardingStore {
  readonly #options: RetryOptions;

  constructor(inner: ObjectStore, options: RetryOptions) {
    super(inner);
    this.#options = options;
  }

  override put(key: string, body: ObjectBody, options?: PutOptions): Promise<void> {
    return this.#retry("put", key, options, () => this.inner.put(key, body, options));
  }

  override putIfAbsent(
    key: string,
    body: ObjectBody,
    options?: PutOptions,
  ): Promise<"created" | "exists"> {
    let isUndecided = false;
    return this.#retry("putIfAbsent", key, options, async () => {
      let outcome: "created" | "exists";
      try {
        outcome = await this.inner.putIfAbsent(key, body, options);
      } catch (error) {
        isUndecided = true;
        throw error;
      }
      if (outcome === "created" || !isUndecided) return outcome;
      return (await this.#isOurs(key, body, options)) ? "created" : "exists";
    });
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectReading> {
    const { info, body } = await this.#retry("get", key, options, () =>
      this.inner.get(key, options),
    );
    return { info, body: transformBody(body, (first) => this.#resume(info, first, options)) };
  }

  override head(key: string, options?: RequestOptions): Promise<ObjectInfo> {
    return this.#retry("head", key, options, () => this.inner.head(key, options));
  }

  override async *list(
    prefix: string,
    options?: ListOptions,
  ): AsyncGenerator<readonly ObjectInfo[], void, undefined> {
    let startAfter = options?.startAfter;
    // Where there is no order to go on in, the listing begins again, without what was listed before.
    const listed = this.properties.listingSorted ? undefined : new Set<string>();
    const open = async () =>
      this.inner.list(prefix, { ...options, ...(startAfter === undefined ? {} : { startAfter }) });
    for await (const page of this.#continue("list", prefix, options, await open(), open)) {
      const fresh = listed === undefined ? page : page.filter(({ key }) => !listed.has(key));
      for (const { key } of fresh) listed?.add(key);
      if (listed === undefined) startAfter = page.at(-1)?.key ?? startAfter;
      if (fresh.length > 0) yield fresh;
    }
  }

  override delete(key: string, options?: RequestOptions): Promise<void> {
    return this.#retry("delete", key, options, () => this.inner.delete(key, options));
  }

  override async deleteAll(keys: readonly string[], options?: RequestOptions): Promise<void> {
    let left = keys;
    await this.#retry("deleteAll", keys[0] ?? "", options, async () => {
      try {
        await this.inner.deleteAll(left, options);
      } catch (error) {
        if (error instanceof ObjectStoreError) left = error.leftKeys ?? left;
        throw error;
      }
    });
  }

  async #isOurs(key: string, body: ObjectBody, options: PutOptions = {}): Promise<boolean> {
    const { signal } = options;
    const stored = await this.inner.get(key, signal === undefined ? {} : { signal }).catch(gone);
    const isPlausible =
      stored.info.size === bodySize(body) &&
      haveSameEntries(stored.info.metadata ?? {}, options.metadata ?? {});
    if (isPlausible) {
      return await haveSameBytes(stored.body, readBody("putIfAbsent", key, body, signal));
    }
    await leaveBody(stored.body);
    return false;
  }

  async *#resume(
    info: ObjectInfo,
    first: AsyncIterable<Uint8Array>,
    options: GetOptions = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { start = 0, length } = options.range ?? {};
    let position = start;
    const reopen = async () => {
      if (position === start) return await this.#reopen(info, options);
      const rest = length === undefined ? {} : { length: start + length - position };
      return await this.#reopen(info, { ...options, range: { start: position, ...rest } });
    };
    for await (const chunk of this.#continue("get", info.key, options, first, reopen)) {
      position += chunk.length;
      yield chunk;
    }
  }

  async #reopen(info: ObjectInfo, options: GetOptions): Promise<AsyncIterable<Uint8Array>> {
    const { info: found, body } = await this.inner.get(info.key, options);
    if (found.size === info.size && found.lastModified.getTime() === info.lastModified.getTime()) {
      return body;
    }
    await leaveBody(body);
    // The caller can begin again; going on here cannot help.
    throw new AbortError(
      new ObjectStoreError("BODY_MISMATCH", "the object was replaced while it was read", {
        operation: "get",
        key: info.key,
      }),
    );
  }

  /**
   * Iterates over `first`, and after a break over what `reopen` returns, which has to begin behind what was yielded.
   * The break counts as the first failed attempt, and a new attempt succeeds with its first item: so a source that always
   * breaks at the same place uses up the budget, and one that makes progress does not.
   */
  async *#continue<T>(
    operation: string,
    key: string,
    options: RequestOptions | undefined,
    first: AsyncIterable<T>,
    reopen: () => Promise<AsyncIterable<T>>,
  ): AsyncGenerator<T, void, undefined> {
    let iterator = first[Symbol.asyncIterator]();
    try {
      for (;;) {
        const result = await iterator.next().catch((error: unknown) => {
          let isBreakReported = false;
          return this.#retry(operation, key, options, async () => {
            if (!isBreakReported) {
              isBreakReported = true;
              throw error;
            }
            iterator = (await reopen())[Symbol.asyncIterator]();
            return await iterator.next();
          });
        });
        if (result.done === true) return;
        yield result.value;
      }
    } finally {
      await iterator.return?.();
    }
  }

  async #retry<T>(
    operation: string,
    key: string,
    options: RequestOptions | undefined,
    request: () => Promise<T>,
  ): Promise<T> {
    const { budgetMs, delayMsMin = 100, delayMsMax = 10_000, onRetry } = this.#options;
    const signal = options?.signal;
    const startedMs = performance.now();
    return await pRetry(request, {
      retries: Number.POSITIVE_INFINITY,
      minTimeout: delayMsMin,
      maxTimeout: delayMsMax,
      factor: 2,
      randomize: true,
      maxRetryTime: budgetMs,
      signal,
      shouldRetry: async ({ error, attemptNumber, retryDelay }) => {
        if (!(error instanceof ObjectStoreError) || !error.retryable) return false;
        const leftMs = startedMs + budgetMs - performance.now();
        const askedMs = error.retryAfterMs ?? 0;
        if (askedMs > leftMs) return false;
        const delayMs = Math.min(Math.max(retryDelay, askedMs), leftMs);
        onRetry?.({ operation, key, error, attempt: attemptNumber, delayMs });
        // The library waits for its own delay after this.
        await sleep(delayMs - retryDelay, signal);
        return true;
      },
    });
  }
}

/** An object that was in our way and is gone decides nothing: the request is sent again. */
function gone(error: unknown): never {
  if (error instanceof ObjectStoreError && error.code === "NOT_FOUND") {
    throw new ObjectStoreError("STORE_FAILED", "the object exists, and does not when it is read", {
      operation: "putIfAbsent",
      key: error.key,
      cause: error,
    });
  }
  throw error;
}

function haveSameEntries(
  left: Readonly<Record<string, string>>,
  right: Readonly<Record<string, string>>,
): boolean {
  const names = Object.keys(left);
  return (
    names.length === Object.keys(right).length && names.every((name) => left[name] === right[name])
  );
}

async function sleep(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  if (delayMs <= 0) return;
  signal?.throwIfAborted();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let abort: (() => void) | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(resolve, delayMs);
      abort = () => reject(signal?.reason);
      signal?.addEventListener("abort", abort, { once: true });
    });
  } finally {
    clearTimeout(timer);
    if (abort !== undefined) signal?.removeEventListener("abort", abort);
  }
}
