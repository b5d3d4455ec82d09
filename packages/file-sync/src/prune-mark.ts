import {
  isNotFound,
  type ObjectStore,
  type RequestOptions,
} from "@vaultwarden-stream/object-store";

/**
 * When the store was last pruned, for processes that live for minutes and remember nothing. Only the object's age counts, by the store's own clock;
 * what it says is for people.
 */
const markKey = "files/pruned.json";

/** One HEAD. @returns how long ago the store was last pruned, in milliseconds; undefined: never, as far as it knows. */
export async function prunedAgeMs(
  store: ObjectStore,
  now: () => Date,
  options: RequestOptions = {},
): Promise<number | undefined> {
  try {
    const { lastModified, storeTime } = await store.head(markKey, options);
    return (storeTime ?? now()).getTime() - lastModified.getTime();
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

export async function markPruned(
  store: ObjectStore,
  now: () => Date,
  options: RequestOptions = {},
): Promise<void> {
  const text = `${JSON.stringify({ version: 1, time: now() })}\n`;
  await store.put(markKey, new TextEncoder().encode(text), options);
}
