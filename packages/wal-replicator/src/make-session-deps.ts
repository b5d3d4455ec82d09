import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type ObjectStore, openObjectStore, RetryingStore } from "@vaultwarden-stream/object-store";
import { retrying } from "./open-replica-root.ts";
import type { ReplicateOptions } from "./replication.ts";
import { type CheckpointPolicy, defaultCheckpointPolicy } from "./ship/checkpointer.ts";
import type { CrashPointListener } from "./ship/crash-point.ts";
import type { SessionDeps } from "./ship/session-deps.ts";

/** What tests put in the place of the world. */
export interface ReplicatorDeps {
  /** Instead of what the URL names. */
  readonly store?: ObjectStore;
  readonly at?: CrashPointListener;
  readonly checkpointPolicy?: CheckpointPolicy;
  /** Milliseconds since the Unix epoch. */
  readonly now?: () => number;
  /** Between two renewals of the lease. */
  readonly leaseIntervalMs?: number;
}

/** One renewal a minute is the idle bill of a replica: 22 US cents a month (s3.md 8). */
const leaseIntervalMs = 60_000;
/** How long a start that can do without the store waits for it. */
const impatientBudgetMs = 10_000;

/** The options with their defaults, the store behind its decorators, and the world. */
export function makeSessionDeps(options: ReplicateOptions, deps: ReplicatorDeps = {}): SessionDeps {
  const store = deps.store ?? openObjectStore(options.replica);
  const root = { prefix: "", timelinesUnder: options.timelinesUnder ?? "" };
  return {
    databasePath: options.database,
    replica: { ...root, store },
    retryingReplica: { ...root, store: retrying(store) },
    impatientReplica: {
      ...root,
      store: new RetryingStore(store, { budgetMs: impatientBudgetMs }),
    },
    ifHeld: options.ifHeld ?? "wait",
    onDivergence: options.onDivergence ?? "stop",
    leaseIntervalMs: deps.leaseIntervalMs ?? leaseIntervalMs,
    Database: options.Database,
    syncIntervalMs: options.syncIntervalMs ?? 1_000,
    checkpointPolicy: deps.checkpointPolicy ?? defaultCheckpointPolicy,
    emit: (event) => options.onEvent?.(event),
    now: deps.now ?? Date.now,
    nowMs: () => performance.now(),
    sleep: async (ms, signal) => {
      await sleep(ms, undefined, { signal }).catch(() => {}); // aborted: the caller looks at its signal
    },
    randomBytes: (count) => randomBytes(count),
    at: deps.at ?? (() => {}),
  };
}
