import { bodySize } from "./body.ts";
import { ObjectStoreError } from "./errors.ts";
import { ForwardingStore } from "./forwarding-store.ts";
import type { ObjectBody, ObjectStore, PutOptions } from "./object-store.ts";
import type { UploadClass } from "./upload-class.ts";

export interface BudgetOptions {
  /** Bytes and objects that may be stored within an hour, asked for at each write; Infinity: as many as you like. */
  readonly bytesMax: () => number;
  readonly objectsMax: () => number;
  /** `free` writes are not counted, and never refused. */
  readonly classOf: (key: string) => UploadClass;
  /** Monotonic, in milliseconds. */
  readonly nowMs: () => number;
  /** The first refusal of an hour, and the first write behind it. */
  readonly onExceeded: (error: ObjectStoreError) => void;
  readonly onRefilled: () => void;
}

export interface BudgetStatus {
  /** Of this hour: what was sent and is under way. */
  readonly bytes: number;
  readonly bytesMax: number;
  readonly objects: number;
  readonly objectsMax: number;
  /** A write was refused in this hour. */
  readonly isExceeded: boolean;
  /** Until the next hour begins, in milliseconds. */
  readonly refillMs: number;
}

const hourMs = 3_600_000;
/** What goes wrong in the background (a merge that is done for ever) leaves the last quarter to the stream. */
const backgroundShare = 0.75;

/**
 * Refuses writes once an hour's budget is used up, before they cost anything: the alarm that a runaway bill rings before it is one. An hour begins
 * with the first write behind the one before; whoever was refused tries again, and goes on with the next.
 *
 * Counted is what was sent, whether the store kept it or not. A single object that is larger than all of an hour's bytes passes alone, since it
 * would pass never. Nothing is remembered over a restart: a process that is started again begins an hour.
 */
export class BudgetStore extends ForwardingStore {
  readonly #options: BudgetOptions;
  #beganAtMs = Number.NEGATIVE_INFINITY;
  #bytesSent = 0;
  /** Sizes of what is under way. */
  #bytesUnderWay = 0;
  #objects = 0;
  #isExceeded = false;

  constructor(inner: ObjectStore, options: BudgetOptions) {
    super(inner);
    this.#options = options;
  }

  get budget(): BudgetStatus {
    const { bytesMax, objectsMax, nowMs } = this.#options;
    const leftMs = this.#beganAtMs + hourMs - nowMs();
    const isOver = leftMs <= 0;
    return {
      bytes: (isOver ? 0 : this.#bytesSent) + this.#bytesUnderWay,
      bytesMax: bytesMax(),
      objects: isOver ? 0 : this.#objects,
      objectsMax: objectsMax(),
      isExceeded: !isOver && this.#isExceeded,
      refillMs: Math.max(0, leftMs),
    };
  }

  /** @throws {ObjectStoreError} `BUDGET_EXCEEDED`, and nothing was sent. */
  override put(key: string, body: ObjectBody, options?: PutOptions): Promise<void> {
    return this.#write("put", key, body, (counted) => this.inner.put(key, counted, options));
  }

  /** @throws {ObjectStoreError} `BUDGET_EXCEEDED`, and nothing was sent. */
  override putIfAbsent(
    key: string,
    body: ObjectBody,
    options?: PutOptions,
  ): Promise<"created" | "exists"> {
    return this.#write("putIfAbsent", key, body, (counted) =>
      this.inner.putIfAbsent(key, counted, options),
    );
  }

  async #write<T>(
    operation: "put" | "putIfAbsent",
    key: string,
    body: ObjectBody,
    request: (body: ObjectBody) => Promise<T>,
  ): Promise<T> {
    const uploadClass = this.#options.classOf(key);
    if (uploadClass === "free") return request(body);
    const size = bodySize(body);
    this.#beginHour();
    const refusal = this.#refusal(operation, key, size, uploadClass);
    if (refusal !== undefined) {
      if (!this.#isExceeded) {
        this.#isExceeded = true;
        this.#options.onExceeded(refusal);
      }
      throw refusal;
    }
    this.#objects += 1;
    this.#bytesUnderWay += size;
    const sent = { bytes: body instanceof Uint8Array ? size : 0 };
    try {
      return await request(counting(body, sent));
    } finally {
      this.#bytesUnderWay -= size;
      this.#bytesSent += sent.bytes;
    }
  }

  #beginHour(): void {
    const nowMs = this.#options.nowMs();
    if (nowMs < this.#beganAtMs + hourMs) return;
    this.#beganAtMs = nowMs;
    this.#bytesSent = 0;
    this.#objects = 0;
    if (!this.#isExceeded) return;
    this.#isExceeded = false;
    this.#options.onRefilled();
  }

  #refusal(
    operation: string,
    key: string,
    size: number,
    uploadClass: UploadClass,
  ): ObjectStoreError | undefined {
    const { bytes, bytesMax, objects, objectsMax, refillMs } = this.budget;
    const share = uploadClass === "background" ? backgroundShare : 1;
    const hasObjects = objects < objectsMax * share;
    const hasBytes = bytes + size <= bytesMax * share || bytes === 0;
    if (hasObjects && hasBytes) return undefined;
    const [used, what] = hasObjects
      ? [bytes, `${bytesMax} bytes`]
      : [objects, `${objectsMax} objects`];
    const minutes = Math.ceil(refillMs / 60_000);
    return new ObjectStoreError(
      "BUDGET_EXCEEDED",
      `uploads are stopped: of the ${what} that may be stored within an hour, ${used} are used, and ${minutes} min are left of it`,
      {
        operation,
        key,
        retryAfterMs: refillMs,
        hint: "Find out what writes so much. If that is as it should be, raise the budget; uploads go on by themselves when the hour is over.",
      },
    );
  }
}

/** Adds up what is read of the body to be sent. */
function counting(body: ObjectBody, sent: { bytes: number }): ObjectBody {
  if (body instanceof Uint8Array) return body;
  return {
    size: body.size,
    open: (use) => (use === undefined ? count(body.open(), sent) : body.open(use)),
  };
}

async function* count(
  chunks: AsyncIterable<Uint8Array>,
  sent: { bytes: number },
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of chunks) {
    sent.bytes += chunk.length;
    yield chunk;
  }
}
