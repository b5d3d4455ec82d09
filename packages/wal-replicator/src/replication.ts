import type { ObjectStore, StoreLocation } from "@vaultwarden-stream/object-store";
import type { FencedEvent, ReplicationEvent } from "./events.ts";
import type { Txid } from "./ltx/txid.ts";
import type { MaintenanceWork } from "./maintain/events-of-maintenance.ts";
import type { RetentionHold } from "./maintain/events-of-retention.ts";
import type { MaintenancePolicy } from "./maintain/policy.ts";
import type { DatabaseClass } from "./sqlite/connection.ts";
import type { IfHeld, OnDivergence } from "./start/plan-start.ts";
import type { UploadLimits } from "./upload-limits.ts";
import type { SourceCheckStatus } from "./watch/source-check-record.ts";
import type { Stall } from "./watch/watchdog.ts";

/** Where a stream stands: a TXID in a timeline, and what the whole database looks like there. */
export interface Position {
  readonly timeline: string;
  readonly txid: Txid;
  /** Rolling checksum of the whole database at this TXID, 16 hex digits. */
  readonly rollingChecksum: string;
}

export interface ReplicateOptions {
  /** Path of the SQLite database. It must be in WAL mode, on a local file system. */
  readonly database: string;
  /** The replica: `s3://bucket/prefix`, `file:///absolute/path`, a path, or an S3 location with its credentials. */
  readonly replica: StoreLocation;
  /**
   * Where the engine runs. `helper` (the default): in a process of its own, which is the only safe home beside another copy of
   * SQLite (POSIX locks belong to the process, see DESIGN.md). `in-process`: for a host that opens the database by no other
   * means, or that passes in the one `Database` class it uses itself.
   */
  readonly home?: "helper" | "in-process";
  /** The host's own better-sqlite3 class; only with `home: "in-process"`, since a class cannot be passed to another process. */
  readonly Database?: DatabaseClass;
  /**
   * Absolute path of the helper's entry file; only with `home: "helper"`, and only for applications that a bundler has packed:
   * the default lies beside the library's own files.
   */
  readonly helperPath?: string;
  /**
   * What `replica` names, opened by the host; only with `home: "in-process"`. For a host that stores more there than the database, and counts or limits
   * all of it together (`limitUploads`). One attempt for each request: repeating them is the stream's.
   */
  readonly store?: ObjectStore;
  /** Limits of uploads; what is left out has its default. Not with `store`, whose limits are the host's. */
  readonly limits?: UploadLimits;
  /** Prefix of the timelines below the replica's URL: "" (default), or for example "db/". */
  readonly timelinesUnder?: string;
  /** Longest batching of commits under constant load, in milliseconds. Default 1000. After a quiet time a commit ships at once. */
  readonly syncIntervalMs?: number;
  /** Switch a rollback-journal database to WAL mode instead of refusing it. Default false. */
  readonly convertToWal?: boolean;
  /**
   * Wait for the database to appear instead of refusing a missing one, or one that is still an empty file. It is never created.
   * The application then has 10 s to switch what it created to WAL mode. Default false.
   */
  readonly waitForDatabase?: boolean;
  /**
   * What to do while another owner's lease on the replica is alive: `wait` until it is stale (the default), `refuse` with `HELD`, or
   * `take-over` at once: the other one is fenced at its next look.
   */
  readonly ifHeld?: IfHeld;
  /**
   * Which side goes on when database and store both have what the other lacks: `stop` (the default) with `LOCAL_DIVERGED`, the `local`
   * one as the new head, or the `remote` one, which has to be restored first (`LOCAL_BEHIND`). The other side is kept in any case.
   */
  readonly onDivergence?: OnDivergence;
  /**
   * When files are merged into levels, when snapshots are made, and for how long moments can be restored; what is left out has its default:
   * thirty days. `false`: whatever is stored stays as it is, and grows. Fields that contradict each other are `OPTIONS_CONFLICT`.
   */
  readonly maintenance?: Partial<MaintenancePolicy> | false;
  /** Called for every event, in order. An error thrown in it is the host's own and ends the process. */
  readonly onEvent?: (event: ReplicationEvent) => void;
  /** Aborts a start that waits. A running stream is ended with `stop()`. */
  readonly signal?: AbortSignal;
}

export interface ReplicationStatus {
  /** Null after a start without the store, until it is back. */
  readonly epoch: number | null;
  readonly timeline: string;
  /** Who has taken over, if anybody has: what is captured since goes to a timeline of its own. */
  readonly fencedBy: FencedEvent["by"] | undefined;
  /** How far the store keeps two writers apart; undefined while it has not been reached. */
  readonly createIfAbsent: "atomic" | "unproved" | undefined;
  /** The newest capture: safe from a crash of this process. */
  readonly captured: Position | undefined;
  /** The newest TXID that the store confirmed: safe from the loss of this machine. */
  readonly storedTxid: Txid | undefined;
  /** Files that wait for the store, their bytes, and since when the oldest waits (milliseconds since the Unix epoch). */
  readonly waitingFiles: number;
  readonly waitingBytes: number;
  readonly waitingSinceMs: number | undefined;
  /** The store's newest failure, if the newest request failed. */
  readonly storeFailure: { readonly code: string; readonly message: string } | undefined;
  /** Why nothing can be captured at present: the disk of the spool is full. */
  readonly spoolFailure: { readonly code: string; readonly message: string } | undefined;
  readonly walBytes: number;
  /** Longest time that writers were held off by a barrier so far. */
  readonly writeLockHeldMsMax: number;
  /** What is committed and not captured, as the watchdog saw it last: frames of the WAL, in bytes, and since when the oldest of them. */
  readonly uncapturedBytes: number;
  readonly uncapturedSinceMs: number | undefined;
  /** Stages that do not get on, and nothing says why. */
  readonly stalls: readonly Stall[];
  /** What the last look through the application's own database has found; undefined: there was none yet. */
  readonly sourceCheck: SourceCheckStatus | undefined;
  /** Undefined: this stream does none. */
  readonly maintenance: MaintenanceStatus | undefined;
}

/** Levels, snapshots and retention in the life of this stream. Times are milliseconds since the Unix epoch; undefined: not in this life. */
export interface MaintenanceStatus {
  /** What fails at present, and is tried again. */
  readonly failures: readonly MaintenanceFailure[];
  readonly lastCompactedAtMs: number | undefined;
  readonly lastSnapshotAtMs: number | undefined;
  /** Why nothing is deleted at present; undefined: nothing is in the way. */
  readonly retentionHeld: RetentionHold | undefined;
}

export interface MaintenanceFailure {
  readonly work: MaintenanceWork;
  /** Which level is not made; null for what is no compaction. */
  readonly level: number | null;
  readonly code: string;
  readonly message: string;
  readonly sinceMs: number;
}

/** A running stream. */
export interface Replication {
  /**
   * Resolves when every commit that was made before the call is stored: confirmed by the store, not only captured.
   *
   * @returns the position that holds them all. @throws the reason if the signal is aborted, or the error that ended the stream.
   */
  flush(options?: { readonly signal?: AbortSignal }): Promise<Position>;

  status(): Promise<ReplicationStatus>;

  /**
   * Stores a full copy of the database at level 9 now, whatever the policy says. Resolves when it is stored; also if it lay there already.
   *
   * @returns the position that it is of, which holds every commit made before the call.
   * @throws {ReplicationError} `OPTIONS_CONFLICT` if this stream does no maintenance or holds no epoch; what made the attempt fail; the
   *   reason if the signal is aborted, which ends the waiting and not the attempt.
   */
  snapshot(options?: { readonly signal?: AbortSignal }): Promise<Position>;

  /**
   * Captures the tail, stores it, releases the epoch and lets go of the database. Idempotent.
   *
   * @param options.applicationEnded - the application has closed the database: leave a clean file without a WAL behind.
   * @param options.timeoutMs - how long the tail may take to ship. What did not fit waits in the spool and is shipped at the next start.
   * @returns the final position, and whether everything is stored and the epoch released.
   */
  stop(options?: StopOptions): Promise<StopResult>;

  /** Resolves after `stop()`; rejects with the error that ended the stream by itself. */
  readonly ended: Promise<void>;
}

export interface StopOptions {
  readonly applicationEnded?: boolean;
  readonly timeoutMs?: number;
}

export interface StopResult {
  readonly position: Position | undefined;
  readonly released: boolean;
  /** Files that did not reach the store. 0 if released. */
  readonly waitingFiles: number;
}
