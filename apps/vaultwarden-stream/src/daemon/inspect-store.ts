import {
  type ObjectStore,
  openObjectStore,
  RetryingStore,
  type StoreLocation,
} from "@vaultwarden-stream/object-store";
import type { StoreState } from "./plan-start.ts";

/** Where the timelines of the database lie; epochs lie beside it. */
export const timelinesUnder = "db/";

/** How long a request that fails is sent again before the start gives up. */
const retryBudgetMs = 10_000;

/**
 * Looks whether the store was ever used. One page of the listing is enough.
 *
 * @throws {ObjectStoreError} for every answer but a listing: an error is never "nothing there".
 */
export async function inspectStore(store: ObjectStore, signal: AbortSignal): Promise<StoreState> {
  const retrying = new RetryingStore(store, { budgetMs: retryBudgetMs });
  for (const prefix of ["epochs/", timelinesUnder]) {
    if ((await firstKey(retrying, prefix, signal)) !== undefined) return { kind: "used" };
  }
  const example = await firstKey(retrying, "", signal);
  return example === undefined ? { kind: "unused" } : { kind: "foreign", example };
}

/**
 * Proves that the bucket is there and lets us list: one page of the listing says what a HEAD of the bucket would.
 *
 * @throws {ObjectStoreError} whatever it answers instead.
 */
export async function requireAnswer(store: ObjectStore, signal: AbortSignal): Promise<void> {
  await firstKey(new RetryingStore(store, { budgetMs: retryBudgetMs }), "", signal);
}

/** Where the store is, for people; without credentials. */
export function describeStore(location: StoreLocation): string {
  return openObjectStore(location).properties.location;
}

async function firstKey(
  store: ObjectStore,
  prefix: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  for await (const page of store.list(prefix, { signal })) {
    const [first] = page;
    if (first !== undefined) return first.key;
  }
  return undefined;
}
