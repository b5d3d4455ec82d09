import { transformBody } from "./body.ts";
import { ObjectStoreError } from "./errors.ts";
import type { StoreOperation } from "./faulty-store.ts";
import { ForwardingStore } from "./forwarding-store.ts";
import type {
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectReading,
  PutOptions,
  RequestOptions,
} from "./object-store.ts";

/** How many requests of a kind ended in which way. */
export interface RequestCount {
  readonly operation: StoreOperation;
  /** `ok`, `exists`, `aborted`, an error's code, or `FAILED` for an error that is not the store's. */
  readonly outcome: string;
  readonly count: number;
}

/** What went to the store, failed requests included. A page of a listing is a request. */
export interface StoreCounts {
  put: number;
  putIfAbsent: number;
  get: number;
  head: number;
  list: number;
  delete: number;
  /** One for each call, and to S3 that is one request for 1,000 keys; a store that takes no bulk deletes was asked for each key. */
  deleteAll: number;
  /** Bytes of the bodies that the store took from us, also of those that it did not keep. */
  bytesUp: number;
  /** Bytes of the bodies that were read. */
  bytesDown: number;
}

/** Counts requests and bytes. Around the store itself it counts attempts, around a retrying store what was asked for. */
export class CountingStore extends ForwardingStore {
  /** Read it at any time; to start anew, `Object.assign(store.counts, noCounts())`. */
  readonly counts: StoreCounts = noCounts();
  readonly #ended = new Map<StoreOperation, Map<string, number>>();

  /** Of all requests that were answered so far. A body or listing that breaks later counts once more, with what broke it. */
  get outcomes(): readonly RequestCount[] {
    return [...this.#ended].flatMap(([operation, outcomes]) =>
      [...outcomes].map(([outcome, count]) => ({ operation, outcome, count })),
    );
  }

  override put(key: string, body: ObjectBody, options?: PutOptions): Promise<void> {
    this.counts.put++;
    return this.#noted("put", options, this.inner.put(key, this.#counted(body), options));
  }

  override putIfAbsent(
    key: string,
    body: ObjectBody,
    options?: PutOptions,
  ): Promise<"created" | "exists"> {
    this.counts.putIfAbsent++;
    return this.#noted(
      "putIfAbsent",
      options,
      this.inner.putIfAbsent(key, this.#counted(body), options),
    );
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectReading> {
    this.counts.get++;
    const { info, body } = await this.#noted("get", options, this.inner.get(key, options));
    return { info, body: transformBody(body, (chunks) => this.#read(chunks, options)) };
  }

  override head(key: string, options?: RequestOptions): Promise<ObjectInfo> {
    this.counts.head++;
    return this.#noted("head", options, this.inner.head(key, options));
  }

  override async *list(
    prefix: string,
    options?: ListOptions,
  ): AsyncGenerator<readonly ObjectInfo[], void, undefined> {
    let isAnswered = false;
    try {
      for await (const page of this.inner.list(prefix, options)) {
        isAnswered = true;
        this.#countPage("ok");
        yield page;
      }
    } catch (error) {
      this.#countPage(outcomeOf(error, options));
      throw error;
    }
    // An empty listing has no page, and was a request all the same.
    if (!isAnswered) this.#countPage("ok");
  }

  override delete(key: string, options?: RequestOptions): Promise<void> {
    this.counts.delete++;
    return this.#noted("delete", options, this.inner.delete(key, options));
  }

  override deleteAll(keys: readonly string[], options?: RequestOptions): Promise<void> {
    this.counts.deleteAll++;
    return this.#noted("deleteAll", options, this.inner.deleteAll(keys, options));
  }

  #countPage(outcome: string): void {
    this.counts.list++;
    this.#note("list", outcome);
  }

  async #noted<T>(
    operation: StoreOperation,
    options: RequestOptions | undefined,
    request: Promise<T>,
  ): Promise<T> {
    try {
      const answer = await request;
      this.#note(operation, answer === "exists" ? "exists" : "ok");
      return answer;
    } catch (error) {
      this.#note(operation, outcomeOf(error, options));
      throw error;
    }
  }

  #note(operation: StoreOperation, outcome: string): void {
    const outcomes = this.#ended.get(operation) ?? new Map<string, number>();
    this.#ended.set(operation, outcomes);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }

  #counted(body: ObjectBody): ObjectBody {
    if (body instanceof Uint8Array) {
      this.counts.bytesUp += body.length;
      return body;
    }
    // A store may read a body for its hash before it sends it: bytes of one request are counted once.
    const sent = { size: 0 };
    return { size: body.size, open: (use) => this.#sent(body.open(use), sent) };
  }

  async *#sent(
    chunks: AsyncIterable<Uint8Array>,
    sent: { size: number },
  ): AsyncGenerator<Uint8Array, void, undefined> {
    let position = 0;
    for await (const chunk of chunks) {
      position += chunk.length;
      this.counts.bytesUp += Math.max(0, position - sent.size);
      sent.size = Math.max(sent.size, position);
      yield chunk;
    }
  }

  async *#read(
    chunks: AsyncIterable<Uint8Array>,
    options: RequestOptions | undefined,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const chunk of chunks) {
        this.counts.bytesDown += chunk.length;
        yield chunk;
      }
    } catch (error) {
      this.#note("get", outcomeOf(error, options));
      throw error;
    }
  }
}

function outcomeOf(error: unknown, options: RequestOptions | undefined): string {
  if (error instanceof ObjectStoreError) return error.code;
  return options?.signal?.aborted === true ? "aborted" : "FAILED";
}

/** Counts that are all zero. */
export function noCounts(): StoreCounts {
  return {
    put: 0,
    putIfAbsent: 0,
    get: 0,
    head: 0,
    list: 0,
    delete: 0,
    deleteAll: 0,
    bytesUp: 0,
    bytesDown: 0,
  };
}
