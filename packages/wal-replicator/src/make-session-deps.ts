import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type ObjectStore, openObjectStore, RetryingStore } from "@vaultwarden-stream/object-store";
import { ReplicationError } from "./errors.ts";
import {
  checkPolicy,
  defaultMaintenancePolicy,
  type MaintenancePolicy,
} from "./maintain/policy.ts";
import { retrying } from "./open-replica-root.ts";
import type { ReplicateOptions } from "./replication.ts";
import { type CheckpointPolicy, defaultCheckpointPolicy } from "./ship/checkpointer.ts";
import type { CrashPointListener } from "./ship/crash-point.ts";
import type { SessionDeps } from "./ship/session-deps.ts";
import { limitUploads } from "./upload-limits.ts";
import { defaultSourceCheckPolicy, type SourceCheckPolicy } from "./watch/source-checker.ts";
import { defaultWatchPolicy, type WatchPolicy } from "./watch/watchdog.ts";

/** What tests put in the place of the world. */
export interface ReplicatorDeps {
  /** Instead of what the URL names. */
  readonly store?: ObjectStore;
  readonly at?: CrashPointListener;
  readonly checkpointPolicy?: CheckpointPolicy;
  readonly watchPolicy?: WatchPolicy;
  readonly sourceCheckPolicy?: SourceCheckPolicy;
  /** Milliseconds since the Unix epoch. */
  readonly now?: () => number;
  /** Between two renewals of the lease. */
  readonly leaseIntervalMs?: number;
}

/** One renewal a minute is the idle bill of a replica: 22 US cents a month (s3.md 8). */
const leaseIntervalMs = 60_000;
/** How long a start that can do without the store waits for it. */
const impatientBudgetMs = 10_000;

/** @throws {ReplicationError} `OPTIONS_CONFLICT` if the policy breaks a law. */
function readPolicy(
  maintenance: NonNullable<ReplicateOptions["maintenance"]>,
): MaintenancePolicy | undefined {
  if (maintenance === false) return undefined;
  const policy = { ...defaultMaintenancePolicy, ...maintenance };
  try {
    checkPolicy(policy);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    // biome-ignore lint/style/useErrorCause: the cause is in the details.
    throw new ReplicationError(
      "OPTIONS_CONFLICT",
      error.message,
      "Change the option `maintenance`, or leave out what has a default.",
      { cause: error },
    );
  }
  return policy;
}

function openLimited({
  replica,
  database,
  timelinesUnder = "",
  limits = {},
}: ReplicateOptions): ObjectStore {
  return limitUploads(openObjectStore(replica), { limits, database, timelinesUnder }).store;
}

/** The options with their defaults, the store behind its decorators, and the world. */
export function makeSessionDeps(options: ReplicateOptions, deps: ReplicatorDeps = {}): SessionDeps {
  const store = deps.store ?? options.store ?? openLimited(options);
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
    watchPolicy: deps.watchPolicy ?? defaultWatchPolicy,
    sourceCheckPolicy: deps.sourceCheckPolicy ?? defaultSourceCheckPolicy,
    maintenance: readPolicy(options.maintenance ?? {}),
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
