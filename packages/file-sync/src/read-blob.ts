import { createHash } from "node:crypto";
import {
  isNotFound,
  type ObjectStore,
  ObjectStoreError,
  type RequestOptions,
} from "@vaultwarden-stream/object-store";
import { blobKey } from "./blob-key.ts";
import { FileSyncError } from "./errors.ts";

/**
 * Yields the bytes of a blob, and ends only if they are those that its name promises. A chunk is gone when the next one is asked for.
 *
 * @throws {FileSyncError} `BLOB_BAD` if it is missing, or has another size or other bytes; perhaps after all of its chunks.
 */
export async function* readBlob(
  store: ObjectStore,
  { sha256, size }: { readonly sha256: string; readonly size: number },
  options: RequestOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const key = blobKey(sha256);
  const hash = createHash("sha256");
  let received = 0;
  try {
    const { info, body } = await store.get(key, options);
    for await (const chunk of body) {
      // In here, and not before: leaving the loop closes the body.
      if (info.size !== size) throw badBlob(key, `it has ${info.size} bytes instead of ${size}`);
      received += chunk.length;
      hash.update(chunk);
      yield chunk;
      releaseMemory(chunk);
    }
  } catch (error) {
    if (isNotFound(error)) throw badBlob(key, "it is not in the store", error);
    if (error instanceof ObjectStoreError && error.code === "BODY_MISMATCH") {
      throw badBlob(key, "it ends early", error);
    }
    throw error;
  }
  if (received !== size) throw badBlob(key, `it has ${received} bytes instead of ${size}`);
  if (hash.digest("hex") !== sha256) throw badBlob(key, "its bytes have another SHA-256");
}

/**
 * Gives the memory of a chunk back, which is ours, at once: the garbage collector hardly sees what is outside of its heap. Parts of
 * larger buffers are left alone.
 */
function releaseMemory({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength) buffer.transfer(0);
}

/** Whether it was read and is not what it should be; false if it is not there. */
export function hasWrongBytes(error: unknown): boolean {
  return isBadBlob(error) && !isNotFound(error.cause);
}

export function isBadBlob(error: unknown): error is FileSyncError {
  return error instanceof FileSyncError && error.code === "BLOB_BAD";
}

function badBlob(key: string, why: string, cause?: unknown): FileSyncError {
  return new FileSyncError(
    "BLOB_BAD",
    `the blob ${key} cannot be used: ${why}`,
    "Push again from where the file still is, or restore it from another moment or copy.",
    { cause },
  );
}
