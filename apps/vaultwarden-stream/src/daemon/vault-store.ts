import {
  type ObjectStore,
  openObjectStore,
  RetryingStore,
  type StoreLocation,
} from "@vaultwarden-stream/object-store";

/** Where the timelines of the database lie in a vault's store; epochs lie beside it. */
export const timelinesUnder = "db/";

/** How long a request that fails is sent again before the start gives up. */
const retryBudgetMs = 10_000;

/** Where the store is, for people; without credentials. */
export function describeStore(location: StoreLocation): string {
  return openObjectStore(location).properties.location;
}

/** The store as a start asks it: with patience, but not for ever. */
export function openRetrying(location: StoreLocation): ObjectStore {
  return retrying(openObjectStore(location));
}

/** The same of a store that is open. */
export function retrying(store: ObjectStore): ObjectStore {
  return new RetryingStore(store, { budgetMs: retryBudgetMs });
}

/**
 * Proves that the bucket is there and lets us list: one page of the listing says what a HEAD of the bucket would.
 *
 * @throws {ObjectStoreError} whatever it answers instead.
 */
export async function requireAnswer(location: StoreLocation, signal: AbortSignal): Promise<void> {
  for await (const _ of openRetrying(location).list("", { signal })) return;
}
