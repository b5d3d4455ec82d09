import { abortable } from "./abortable.ts";
import { ObjectStoreError } from "./errors.ts";
import type { BodyUse, ObjectBody } from "./object-store.ts";

/** Length in bytes that the body announces. */
export function bodySize(body: ObjectBody): number {
  return body instanceof Uint8Array ? body.length : body.size;
}

/**
 * Yields the chunks of a body that is being stored, and ends only if they have the announced length.
 * Errors of the body's own source and the abort reason pass unwrapped, the latter also while the source stalls.
 *
 * @throws {ObjectStoreError} `BODY_MISMATCH`, as soon as there are too many bytes.
 */
export async function* readBody(
  operation: string,
  key: string,
  body: ObjectBody,
  signal: AbortSignal | undefined,
  use?: BodyUse,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (body instanceof Uint8Array) {
    yield body;
    return;
  }
  const mismatch = (found: string) =>
    new ObjectStoreError("BODY_MISMATCH", `the body has ${found} than its ${body.size} bytes`, {
      operation,
      key,
    });
  const iterator = body.open(use)[Symbol.asyncIterator]();
  let size = 0;
  let isOpen = true;
  try {
    for (;;) {
      const result = await abortable(iterator.next(), signal);
      if (result.done === true) break;
      size += result.value.length;
      if (size > body.size) throw mismatch("more");
      yield result.value;
    }
    isOpen = false;
    if (size < body.size) throw mismatch(`${body.size - size} bytes less`);
  } finally {
    // Not awaited: a source that stalls answers `return` only when it is done stalling. Its failure would hide the first one.
    if (isOpen) iterator.return?.().then(undefined, () => undefined);
  }
}

/** Collects a body in memory. The result is a copy that nobody else has. @throws as `readBody`. */
export async function collectBody(
  operation: string,
  key: string,
  body: ObjectBody,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(bodySize(body));
  let size = 0;
  for await (const chunk of readBody(operation, key, body, signal)) {
    bytes.set(chunk, size);
    size += chunk.length;
  }
  return bytes;
}

/**
 * Makes the body of a `get` from a generator that releases what it holds in its own `finally`.
 * A reader that returns before the first chunk never starts the generator, so nothing of it runs: `releaseUnread` is for this case.
 */
export function releasableBody(
  chunks: AsyncGenerator<Uint8Array, void, undefined>,
  releaseUnread: () => unknown,
): AsyncIterable<Uint8Array> {
  let isStarted = false;
  const iterator: AsyncIterableIterator<Uint8Array, void, undefined> = {
    next() {
      isStarted = true;
      return chunks.next();
    },
    async return() {
      if (!isStarted) {
        isStarted = true;
        await releaseUnread();
      }
      return await chunks.return();
    },
    [Symbol.asyncIterator]() {
      return iterator;
    },
  };
  return iterator;
}

/** Passes a body of a `get` through a generator that iterates over it; leaving the result early leaves the inner body too. */
export function transformBody(
  body: AsyncIterable<Uint8Array>,
  transform: (body: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array, void, undefined>,
): AsyncIterable<Uint8Array> {
  return releasableBody(transform(body), () => leaveBody(body));
}

/** Releases a body of a `get` that is not read, or not further. */
export async function leaveBody(body: AsyncIterable<Uint8Array>): Promise<void> {
  await body[Symbol.asyncIterator]().return?.();
}

/** Compares two streams of the same total length, whatever their chunks are. */
export async function haveSameBytes(
  left: AsyncIterable<Uint8Array>,
  right: AsyncIterable<Uint8Array>,
): Promise<boolean> {
  const rightChunks = right[Symbol.asyncIterator]();
  let rightRest: Uint8Array = new Uint8Array(0);
  try {
    for await (const chunk of left) {
      for (let leftRest = chunk; leftRest.length > 0; ) {
        if (rightRest.length === 0) {
          const next = await rightChunks.next();
          if (next.done === true) return false;
          rightRest = next.value;
        }
        const length = Math.min(leftRest.length, rightRest.length);
        if (Buffer.compare(leftRest.subarray(0, length), rightRest.subarray(0, length)) !== 0) {
          return false;
        }
        leftRest = leftRest.subarray(length);
        rightRest = rightRest.subarray(length);
      }
    }
    return true;
  } finally {
    await rightChunks.return?.();
  }
}
