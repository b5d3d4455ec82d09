import {
  type ObjectStore,
  openObjectStore,
  RetryingStore,
  type RetryNotice,
  type StoreLocation,
} from "@vaultwarden-stream/object-store";
import type { ReplicaRoot } from "./replica/replica.ts";

/** How long a request that fails is sent again, for work that somebody waits for. */
const retryBudgetMs = 30_000;

/**
 * The replica that a URL or path names, behind a decorator that repeats failed requests.
 *
 * @param options.onRetry - is told of each repetition, so that a person does not wait in silence.
 * @throws {ObjectStoreError} `INVALID_ARGUMENT` if it names no store that we know.
 */
export function openReplicaRoot(
  replica: StoreLocation,
  options: {
    readonly timelinesUnder?: string;
    readonly onRetry?: (notice: RetryNotice) => void;
  } = {},
): ReplicaRoot {
  const { timelinesUnder = "", onRetry } = options;
  return { store: retrying(openObjectStore(replica), onRetry), prefix: "", timelinesUnder };
}

/** A store that repeats failed requests for as long as somebody waits for them. */
export function retrying(
  store: ObjectStore,
  onRetry?: (notice: RetryNotice) => void,
): RetryingStore {
  return new RetryingStore(store, {
    budgetMs: retryBudgetMs,
    ...(onRetry === undefined ? {} : { onRetry }),
  });
}
