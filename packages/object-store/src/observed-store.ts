import { transformBody } from "./body.ts";
import type { StoreOperation } from "./faulty-store.ts";
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

/** What showed life. */
export interface SignOfLife {
  readonly operation: StoreOperation;
  /** Or the prefix of a listing, or the first of many keys. */
  readonly key: string;
}

/**
 * Tells of every sign of life: an answer, a failure, a piece of a body on its way. So whoever waits for the store can tell a long upload from one
 * that hangs.
 */
export class ObservedStore extends ForwardingStore {
  readonly #onSign: (sign: SignOfLife) => void;

  constructor(inner: ObjectStore, onSign: (sign: SignOfLife) => void) {
    super(inner);
    this.#onSign = onSign;
  }

  override put(key: string, body: ObjectBody, options?: PutOptions): Promise<void> {
    const sign: SignOfLife = { operation: "put", key };
    return this.#observed(sign, this.inner.put(key, this.#observedBody(sign, body), options));
  }

  override putIfAbsent(
    key: string,
    body: ObjectBody,
    options?: PutOptions,
  ): Promise<"created" | "exists"> {
    const sign: SignOfLife = { operation: "putIfAbsent", key };
    return this.#observed(
      sign,
      this.inner.putIfAbsent(key, this.#observedBody(sign, body), options),
    );
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectReading> {
    const sign: SignOfLife = { operation: "get", key };
    const { info, body } = await this.#observed(sign, this.inner.get(key, options));
    return { info, body: transformBody(body, (chunks) => this.#pieces(sign, chunks)) };
  }

  override head(key: string, options?: RequestOptions): Promise<ObjectInfo> {
    return this.#observed({ operation: "head", key }, this.inner.head(key, options));
  }

  override async *list(
    prefix: string,
    options?: ListOptions,
  ): AsyncGenerator<readonly ObjectInfo[], void, undefined> {
    for await (const page of this.inner.list(prefix, options)) {
      this.#onSign({ operation: "list", key: prefix });
      yield page;
    }
  }

  override delete(key: string, options?: RequestOptions): Promise<void> {
    return this.#observed({ operation: "delete", key }, this.inner.delete(key, options));
  }

  override deleteAll(keys: readonly string[], options?: RequestOptions): Promise<void> {
    const sign: SignOfLife = { operation: "deleteAll", key: keys[0] ?? "" };
    return this.#observed(sign, this.inner.deleteAll(keys, options));
  }

  async #observed<T>(sign: SignOfLife, request: Promise<T>): Promise<T> {
    try {
      return await request;
    } finally {
      this.#onSign(sign);
    }
  }

  #observedBody(sign: SignOfLife, body: ObjectBody): ObjectBody {
    if (body instanceof Uint8Array) return body;
    return { size: body.size, open: (use) => this.#pieces(sign, body.open(use)) };
  }

  async *#pieces(
    sign: SignOfLife,
    chunks: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of chunks) {
      this.#onSign(sign);
      yield chunk;
    }
  }
}
