import type { ReplicationEvent } from "../events.ts";
import type { MaintenancePolicy } from "../maintain/policy.ts";
import type { ReplicaRoot } from "../replica/replica.ts";
import type { DatabaseClass } from "../sqlite/connection.ts";
import type { IfHeld, OnDivergence } from "../start/plan-start.ts";
import type { SourceCheckPolicy } from "../watch/source-checker.ts";
import type { WatchPolicy } from "../watch/watchdog.ts";
import type { CheckpointPolicy } from "./checkpointer.ts";
import type { CrashPointListener } from "./crash-point.ts";

/** Everything that a session gets from outside: where, how, and the world's clock and faults. */
export interface SessionDeps {
  readonly databasePath: string;
  /** For single requests: a failed one is the uploader's to repeat. */
  readonly replica: ReplicaRoot;
  /** The same store behind a decorator that repeats: for the start and the release. */
  readonly retryingReplica: ReplicaRoot;
  /** Behind one that soon gives up: for a start that can do without the store. */
  readonly impatientReplica: ReplicaRoot;
  readonly ifHeld: IfHeld;
  readonly onDivergence: OnDivergence;
  /** Between two renewals of the lease, and two looks for the next epoch. */
  readonly leaseIntervalMs: number;
  readonly Database: DatabaseClass | undefined;
  readonly syncIntervalMs: number;
  readonly checkpointPolicy: CheckpointPolicy;
  /** Undefined: levels, snapshots and retention are left to somebody else. */
  readonly maintenance: MaintenancePolicy | undefined;
  readonly watchPolicy: WatchPolicy;
  readonly sourceCheckPolicy: SourceCheckPolicy;
  readonly emit: (event: ReplicationEvent) => void;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Random bytes for nonces. */
  readonly randomBytes: (count: number) => Uint8Array;
  readonly at: CrashPointListener;
}
