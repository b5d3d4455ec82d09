import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type BudgetStatus,
  BudgetStore,
  CountingStore,
  type ObjectStore,
  type ObjectStoreError,
  RateLimit,
  RateLimitedStore,
  type RequestCount,
} from "@vaultwarden-stream/object-store";
import { uploadClass } from "./replica/upload-class.ts";

/** What may be stored how fast. Plain data, which can cross the border of a process; Infinity: as much as you like. */
export interface UploadLimits {
  /** Of all uploads together, in bytes per second. Default: as fast as it goes. */
  readonly bytesPerSecond?: number;
  /**
   * Within an hour: beyond it uploads stop with `BUDGET_EXCEEDED`, and go on with the next hour. What is captured meanwhile waits in the spool. Defaults:
   * 20,000 objects, and 10 GB or twenty times the database. Whoever stores files too adds twice those.
   */
  readonly hourlyBytesMax?: number;
  readonly hourlyObjectsMax?: number;
}

export interface LimitUploadsOptions {
  readonly limits: UploadLimits;
  /** Path of the database, for the defaults. */
  readonly database: string;
  readonly timelinesUnder: string;
  /** What is stored besides the database, for the defaults. */
  readonly others?: () => { readonly objects: number; readonly bytes: number };
  readonly onExceeded?: (error: ObjectStoreError) => void;
  readonly onRefilled?: () => void;
  /** Monotonic, in milliseconds. Default: the world's. */
  readonly nowMs?: () => number;
}

/** A store whose uploads are limited, and what went through it. */
export interface LimitedStore {
  readonly store: ObjectStore;
  usage(): StoreUsage;
}

/** Since the process began. */
export interface StoreUsage {
  readonly requests: readonly RequestCount[];
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Of this hour. */
  readonly budget: BudgetStatus;
}

const hourlyBytesLeast = 10e9;
const databasesPerHour = 20;
const hourlyObjectsLeast = 20_000;
/** Each file once, and once more: a first upload is no runaway. */
const othersPerHour = 2;

/**
 * Counts what goes to the store and holds uploads within their limits, the last defence against a bill or a line that something runs away with.
 * Leases and looks are never held back, and commits go first. One stack for everything that a process sends there.
 */
export function limitUploads(inner: ObjectStore, options: LimitUploadsOptions): LimitedStore {
  const { limits, database, others = () => ({ objects: 0, bytes: 0 }) } = options;
  const { nowMs = () => performance.now(), onExceeded = () => {}, onRefilled = () => {} } = options;
  const { bytesPerSecond = Number.POSITIVE_INFINITY, hourlyBytesMax, hourlyObjectsMax } = limits;
  const classOf = (key: string) => uploadClass(key, options.timelinesUnder);
  const counting = new CountingStore(inner);
  const limited =
    bytesPerSecond === Number.POSITIVE_INFINITY
      ? counting
      : new RateLimitedStore(
          counting,
          new RateLimit({ bytesPerSecond, nowMs, sleep: (ms) => sleep(ms) }),
          classOf,
        );
  const databaseBytes = (): number => statSync(database, { throwIfNoEntry: false })?.size ?? 0;
  const budgeted = new BudgetStore(limited, {
    bytesMax: () =>
      hourlyBytesMax ??
      Math.max(hourlyBytesLeast, databasesPerHour * databaseBytes()) +
        othersPerHour * others().bytes,
    objectsMax: () => hourlyObjectsMax ?? hourlyObjectsLeast + othersPerHour * others().objects,
    classOf,
    nowMs,
    onExceeded,
    onRefilled,
  });
  return {
    store: budgeted,
    usage: () => ({
      requests: counting.outcomes,
      bytesUp: counting.counts.bytesUp,
      bytesDown: counting.counts.bytesDown,
      budget: budgeted.budget,
    }),
  };
}
