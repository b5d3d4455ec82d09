import pLimit, { type LimitFunction } from "p-limit";
import { leaveBody, releasableBody } from "./body.ts";
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

/**
 * Lets at most so many requests be in flight at once; the others wait, first come, first served, and an abort ends the wait.
 *
 * A `get` is in flight until its body ends or is returned, a listing while it asks for a page, a `deleteAll` as one request however many it makes. A body that is stored must
 * therefore not come from a `get` of the same limited store: with all slots taken by such puts, none would go on.
 */
export class LimitedStore extends ForwardingStore {
  readonly #limit: LimitFunction;

  /** @param requestCountMax - from 1. */
  constructor(inner: ObjectStore, requestCountMax: number) {
    super(inner);
    this.#limit = pLimit(requestCountMax);
  }

  override put(key: string, body: ObjectBody, options?: PutOptions): Promise<void> {
    return this.#run(options, () => this.inner.put(key, body, options));
  }

  override putIfAbsent(
    key: string,
    body: ObjectBody,
    options?: PutOptions,
  ): Promise<"created" | "exists"> {
    return this.#run(options, () => this.inner.putIfAbsent(key, body, options));
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectReading> {
    const release = await this.#acquire(options);
    try {
      const { info, body } = await this.inner.get(key, options);
      const leave = async () => {
        try {
          await leaveBody(body);
        } finally {
          release();
        }
      };
      return { info, body: releasableBody(readAndRelease(body, release), leave) };
    } catch (error) {
      release();
      throw error;
    }
  }

  override head(key: string, options?: RequestOptions): Promise<ObjectInfo> {
    return this.#run(options, () => this.inner.head(key, options));
  }

  override async *list(
    prefix: string,
    options?: ListOptions,
  ): AsyncGenerator<readonly ObjectInfo[], void, undefined> {
    const pages = this.inner.list(prefix, options)[Symbol.asyncIterator]();
    try {
      for (;;) {
        const page = await this.#run(options, () => pages.next());
        if (page.done === true) return;
        yield page.value;
      }
    } finally {
      await pages.return?.();
    }
  }

  override delete(key: string, options?: RequestOptions): Promise<void> {
    return this.#run(options, () => this.inner.delete(key, options));
  }

  override deleteAll(keys: readonly string[], options?: RequestOptions): Promise<void> {
    return this.#run(options, () => this.inner.deleteAll(keys, options));
  }

  async #run<T>(options: RequestOptions | undefined, request: () => Promise<T>): Promise<T> {
    const release = await this.#acquire(options);
    try {
      return await request();
    } finally {
      release();
    }
  }

  /** Waits for a slot. @returns the function that gives it back. */
  async #acquire(options: RequestOptions | undefined): Promise<() => void> {
    const signal = options?.signal;
    signal?.throwIfAborted();
    return await new Promise<() => void>((resolve, reject) => {
      let isWaiting = true;
      const abort = () => {
        isWaiting = false;
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      const takeSlot = (release: () => void) => {
        signal?.removeEventListener("abort", abort);
        // Whoever gave up cannot give the slot back.
        if (isWaiting) resolve(release);
        else release();
      };
      this.#limit(() => new Promise<void>(takeSlot)).catch(reject);
    });
  }
}

async function* readAndRelease(
  body: AsyncIterable<Uint8Array>,
  release: () => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* body;
  } finally {
    release();
  }
}
