import { bodySize } from "./body.ts";
import { ForwardingStore } from "./forwarding-store.ts";
import { LimitedStore } from "./limited-store.ts";
import type { ObjectBody, ObjectStore, PutOptions } from "./object-store.ts";
import type { RateLimit } from "./rate-limit.ts";
import type { UploadClass } from "./upload-class.ts";

/**
 * Holds the bodies of writes back to a rate, piece by piece; nothing else waits. A body that a store reads for its hash is not held back: only what
 * is sent.
 *
 * Of each class one body that does not fit in a piece is under way at a time. Side by side they would share the rate, and a store gives up
 * a request that is slower than 64 KiB/s.
 */
export class RateLimitedStore extends ForwardingStore {
  readonly #rate: RateLimit;
  readonly #classOf: (key: string) => UploadClass;
  readonly #lines: Readonly<Record<"stream" | "background", ObjectStore>>;

  constructor(inner: ObjectStore, rate: RateLimit, classOf: (key: string) => UploadClass) {
    super(inner);
    this.#rate = rate;
    this.#classOf = classOf;
    this.#lines = { stream: new LimitedStore(inner, 1), background: new LimitedStore(inner, 1) };
  }

  override put(key: string, body: ObjectBody, options?: PutOptions): Promise<void> {
    return this.#write(key, body, options, (store, held) => store.put(key, held, options));
  }

  override putIfAbsent(
    key: string,
    body: ObjectBody,
    options?: PutOptions,
  ): Promise<"created" | "exists"> {
    return this.#write(key, body, options, (store, held) => store.putIfAbsent(key, held, options));
  }

  async #write<T>(
    key: string,
    body: ObjectBody,
    options: PutOptions | undefined,
    request: (store: ObjectStore, body: ObjectBody) => Promise<T>,
  ): Promise<T> {
    const uploadClass = this.#classOf(key);
    if (uploadClass === "free") return request(this.inner, body);
    const size = bodySize(body);
    if (size <= this.#rate.pieceBytes) {
      await this.#rate.take(size, uploadClass, options?.signal);
      return request(this.inner, body);
    }
    return request(this.#lines[uploadClass], {
      size,
      open: (use) => {
        const chunks = body instanceof Uint8Array ? onlyChunk(body) : body.open(use);
        return use === "hash" ? chunks : this.#held(chunks, uploadClass, options?.signal);
      },
    });
  }

  async *#held(
    chunks: AsyncIterable<Uint8Array>,
    uploadClass: UploadClass,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { pieceBytes } = this.#rate;
    for await (const chunk of chunks) {
      for (let position = 0; position < chunk.length; position += pieceBytes) {
        const piece = chunk.subarray(position, position + pieceBytes);
        await this.#rate.take(piece.length, uploadClass, signal);
        yield piece;
      }
    }
  }
}

async function* onlyChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
