import { isNotFound, ObjectStoreError } from "@vaultwarden-stream/object-store";

/**
 * Reads what a create-if-absent said is there. If it is not, nothing is decided: an earlier attempt of ours may still land, so that the same
 * request has to be sent again (s3.md 6).
 *
 * @throws {ObjectStoreError} `STORE_FAILED` instead of `NOT_FOUND`; all else as it is.
 */
export async function readBack<T>(key: string, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    if (!isNotFound(error)) throw error;
    // biome-ignore lint/style/useErrorCause: the cause is in the details.
    throw new ObjectStoreError("STORE_FAILED", "the object exists, and does not when it is read", {
      operation: "putIfAbsent",
      key,
      hint: "Nothing to do once: the request is sent again. If it stays, the store contradicts itself; look at its status page or log.",
      cause: error,
    });
  }
}
