import { abortable } from "./abortable.ts";
import { transformBody } from "./body.ts";
import { ObjectStoreError, type ObjectStoreErrorCode } from "./errors.ts";
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
 * The fault model: what a store, and the way to it, do to one request.
 *
 * Not in it: a store that loses or changes what it has stored, stale reads, listings that lack keys.
 */
export type Fault =
  /** The request fails and never reaches the store. */
  | {
      readonly kind: "error-before";
      readonly code: ObjectStoreErrorCode;
      readonly retryAfterMs?: number;
    }
  /** The store does what it was asked, and the answer is lost. Of a listing the first page arrives. */
  | { readonly kind: "error-after"; readonly code: ObjectStoreErrorCode }
  /** The connection breaks (`UNREACHABLE`) after so many bytes of the body, on the way up or down. Nothing for requests without a body. */
  | { readonly kind: "cut-body"; readonly afterBytes: number }
  /** One bit of this byte (from 0) of the body arrives flipped, on the way up or down, and nobody says so. */
  | { readonly kind: "garble-body"; readonly atByte: number }
  /** No answer until the request is aborted; without a signal, never. */
  | { readonly kind: "stall" }
  /** The request waits for this first. The clock is the caller's. */
  | { readonly kind: "delay"; readonly wait: () => Promise<void> };

export type StoreOperation =
  | "put"
  | "putIfAbsent"
  | "get"
  | "head"
  | "list"
  | "delete"
  | "deleteAll";

export interface StoreCall {
  readonly operation: StoreOperation;
  /** The key, the prefix of a listing, or the first of many keys. */
  readonly key: string;
  /** From 1: how often this operation was asked for this key. */
  readonly nth: number;
}

/** Decides what happens to a request; asked once for each. */
export type FaultPlan = (call: StoreCall) => Fault | undefined;

/** @returns a plan in which a request fails with the probability (0 … 1), by a fault of the list. The same seed gives the same plan. */
export function seededFaults(
  seed: number,
  probability: number,
  faults: readonly Fault[],
): FaultPlan {
  // mulberry32, public domain.
  let state = seed >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => (random() < probability ? faults[Math.floor(random() * faults.length)] : undefined);
}

/** Injects faults by a plan, for tests. */
export class FaultyStore extends ForwardingStore {
  readonly #plan: FaultPlan;
  readonly #callCounts = new Map<string, number>();

  constructor(inner: ObjectStore, plan: FaultPlan) {
    super(inner);
    this.#plan = plan;
  }

  override put(key: string, body: ObjectBody, options?: PutOptions): Promise<void> {
    return this.#run("put", key, options, (fault) =>
      this.inner.put(key, bendUpload(body, key, fault), options),
    );
  }

  override putIfAbsent(
    key: string,
    body: ObjectBody,
    options?: PutOptions,
  ): Promise<"created" | "exists"> {
    return this.#run("putIfAbsent", key, options, (fault) =>
      this.inner.putIfAbsent(key, bendUpload(body, key, fault), options),
    );
  }

  override get(key: string, options?: GetOptions): Promise<ObjectReading> {
    return this.#run("get", key, options, async (fault) => {
      const { info, body } = await this.inner.get(key, options);
      return { info, body: transformBody(body, (chunks) => bend(chunks, "get", key, fault)) };
    });
  }

  override head(key: string, options?: RequestOptions): Promise<ObjectInfo> {
    return this.#run("head", key, options, () => this.inner.head(key, options));
  }

  override async *list(
    prefix: string,
    options?: ListOptions,
  ): AsyncGenerator<readonly ObjectInfo[], void, undefined> {
    const fault = this.#nextFault("list", prefix);
    await begin(fault, "list", prefix, options);
    for await (const page of this.inner.list(prefix, options)) {
      yield page;
      if (fault?.kind === "error-after") throw toError(fault, "list", prefix);
    }
  }

  override delete(key: string, options?: RequestOptions): Promise<void> {
    return this.#run("delete", key, options, () => this.inner.delete(key, options));
  }

  /** Fails as a whole, for the caller who knows of no key what became of it. */
  override async deleteAll(keys: readonly string[], options?: RequestOptions): Promise<void> {
    const request = () => this.inner.deleteAll(keys, options);
    await this.#run("deleteAll", keys[0] ?? "", options, request, keys);
  }

  async #run<T>(
    operation: StoreOperation,
    key: string,
    options: RequestOptions | undefined,
    request: (fault: Fault | undefined) => Promise<T>,
    leftKeys?: readonly string[],
  ): Promise<T> {
    options?.signal?.throwIfAborted();
    const fault = this.#nextFault(operation, key);
    await begin(fault, operation, key, options, leftKeys);
    const answer = await request(fault);
    if (fault?.kind === "error-after") throw toError(fault, operation, key, leftKeys);
    return answer;
  }

  #nextFault(operation: StoreOperation, key: string): Fault | undefined {
    const name = `${operation} ${key}`;
    const nth = (this.#callCounts.get(name) ?? 0) + 1;
    this.#callCounts.set(name, nth);
    return this.#plan({ operation, key, nth });
  }
}

async function begin(
  fault: Fault | undefined,
  operation: StoreOperation,
  key: string,
  options: RequestOptions | undefined,
  leftKeys?: readonly string[],
): Promise<void> {
  if (fault?.kind === "error-before") throw toError(fault, operation, key, leftKeys);
  if (fault?.kind === "stall")
    await abortable(new Promise<never>(() => undefined), options?.signal);
  if (fault?.kind === "delay") await abortable(fault.wait(), options?.signal);
}

function toError(
  fault: { readonly code: ObjectStoreErrorCode; readonly retryAfterMs?: number },
  operation: StoreOperation,
  key: string,
  leftKeys?: readonly string[],
): ObjectStoreError {
  const { code, retryAfterMs } = fault;
  return new ObjectStoreError(code, "injected fault", {
    operation,
    key,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(leftKeys === undefined ? {} : { leftKeys }),
  });
}

function bendUpload(body: ObjectBody, key: string, fault: Fault | undefined): ObjectBody {
  if (fault?.kind !== "cut-body" && fault?.kind !== "garble-body") return body;
  if (!(body instanceof Uint8Array)) {
    return { size: body.size, open: (use) => bend(body.open(use), "put", key, fault) };
  }
  return { size: body.length, open: () => bend(onlyChunk(body), "put", key, fault) };
}

async function* onlyChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}

async function* bend(
  chunks: AsyncIterable<Uint8Array>,
  operation: StoreOperation,
  key: string,
  fault: Fault | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  let position = 0;
  for await (const chunk of chunks) {
    const end = position + chunk.length;
    if (fault?.kind === "cut-body" && fault.afterBytes < end) {
      if (fault.afterBytes > position) yield chunk.subarray(0, fault.afterBytes - position);
      throw toError({ code: "UNREACHABLE" }, operation, key);
    }
    if (fault?.kind === "garble-body" && position <= fault.atByte && fault.atByte < end) {
      const garbled = chunk.slice();
      garbled[fault.atByte - position] = (garbled[fault.atByte - position] ?? 0) ^ 1;
      yield garbled;
    } else {
      yield chunk;
    }
    position = end;
  }
}
