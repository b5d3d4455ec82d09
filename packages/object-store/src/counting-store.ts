import { transformBody } from "./body.ts";
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

/** What went to the store, failed requests included. A page of a listing is a request. */
export interface StoreCounts {
  put: number;
  putIfAbsent: number;
  get: number;
  head: number;
  list: number;
  delete: number;
  /** Bytes of the bodies that the store took from us, also of those that it did not keep. */
  bytesUp: number;
  /** Bytes of the bodies that were read. */
  bytesDown: number;
}

/** Counts requests and bytes. Around the store itself it counts attempts, around a retrying store what was asked for. */
export class CountingStore extends ForwardingStore {
  /** Read it at any time; to start anew, `Object.assign(store.counts, noCounts())`. */
  readonly counts: StoreCounts = noCounts();

  override put(key: string, body: ObjectBody, options?: PutOptions): Promise<void> {
    this.counts.put++;
    return this.inner.put(key, this.#counted(body), options);
  }

  override putIfAbsent(
    key: string,
    body: ObjectBody,
    options?: PutOptions,
  ): Promise<"created" | "exists"> {
    this.counts.putIfAbsent++;
    return this.inner.putIfAbsent(key, this.#counted(body), options);
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectReading> {
    this.counts.get++;
    const { info, body } = await this.inner.get(key, options);
    return { info, body: transformBody(body, (chunks) => this.#read(chunks)) };
  }

  override head(key: string, options?: RequestOptions): Promise<ObjectInfo> {
    this.counts.head++;
    return this.inner.head(key, options);
  }

  override async *list(
    prefix: string,
    options?: ListOptions,
  ): AsyncGenerator<readonly ObjectInfo[], void, undefined> {
    let isAnswered = false;
    try {
      for await (const page of this.inner.list(prefix, options)) {
        isAnswered = true;
        this.counts.list++;
        yield page;
      }
    } catch (error) {
      this.counts.list++;
      throw error;
    }
    // An empty listing has no page, and was a request all the same.
    if (!isAnswered) this.counts.list++;
  }

  override delete(key: string, options?: RequestOptions): Promise<void> {
    this.counts.delete++;
    return this.inner.delete(key, options);
  }

  #counted(body: ObjectBody): ObjectBody {
    if (body instanceof Uint8Array) {
      this.counts.bytesUp += body.length;
      return body;
    }
    // A store may read a body for its hash before it sends it: bytes of one request are counted once.
    const sent = { size: 0 };
    return { size: body.size, open: () => this.#sent(body.open(), sent) };
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

  async *#read(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of chunks) {
      this.counts.bytesDown += chunk.length;
      yield chunk;
    }
  }
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
    bytesUp: 0,
    bytesDown: 0,
  };
}
