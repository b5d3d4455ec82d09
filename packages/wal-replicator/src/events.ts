import type { ConditionalWritesVerdict } from "@vaultwarden-stream/object-store";
import type { Txid } from "./ltx/txid.ts";
import type { MaintenanceEvent } from "./maintain/events-of-maintenance.ts";
import type { RetentionEvent } from "./maintain/events-of-retention.ts";
import type { SourceCheckEvent } from "./watch/source-checker.ts";
import type { StallEndedEvent, StalledEvent } from "./watch/watchdog.ts";

/**
 * What the engine tells its host while it runs. Nothing in the engine logs: a host that wants a log writes it from these.
 * All events are plain data and cross the helper's process border unchanged. Times are milliseconds since the Unix epoch.
 */
export type ReplicationEvent =
  | StartedEvent
  | CapturedEvent
  | StoredEvent
  | CheckpointedEvent
  | StoreFailingEvent
  | StoreRecoveredEvent
  | SpoolMergedEvent
  | SpoolFullEvent
  | SpoolRecoveredEvent
  | StoreProbedEvent
  | WaitingEvent
  | EpochTakenEvent
  | LeaseFailingEvent
  | LeaseRenewedEvent
  | FencedEvent
  | BaseStoredEvent
  | BaseFailingEvent
  | MaintenanceEvent
  | RetentionEvent
  | StalledEvent
  | StallEndedEvent
  | SourceCheckEvent
  | DatabaseReplacedEvent
  | HelperRestartedEvent
  | ReleasedEvent;

/** How the stream goes on after the one before it: from the saved WAL position, by comparing pages, or with a full copy. */
export type ResumeAction = "continue" | "compare" | "snapshot";

/** The anchor is held: from now on no commit is missed. */
export interface StartedEvent {
  readonly type: "started";
  /** Null: the store does not answer; the epoch follows when it is back (`epoch-taken`), and captures wait in the spool. */
  readonly epoch: number | null;
  readonly timeline: string;
  /** The timeline and TXID that this one branches from; null for a first timeline, or where the past is not known. */
  readonly parent: { readonly timeline: string; readonly txid: Txid } | null;
  /** Whether the timeline existed before this start. */
  readonly continued: boolean;
  /** Why the timeline was continued or begun, in words. */
  readonly reason: string;
  readonly resume: ResumeAction;
}

/** A pass ended with a complete LTX file in the spool: these commits survive a crash of this machine. */
export interface CapturedEvent {
  readonly type: "captured";
  readonly txid: Txid;
  readonly kind: "wal" | "compare" | "snapshot";
  /** Pages in the file. */
  readonly pages: number;
  /** Size of the file in bytes. */
  readonly bytes: number;
  /** Size of the database after it, in pages. */
  readonly dbPageCount: number;
}

/** The store has confirmed the file: these commits survive the loss of this machine. */
export interface StoredEvent {
  readonly type: "stored";
  readonly txid: Txid;
  readonly key: string;
  readonly bytes: number;
  /** From the capture of the file to the store's confirmation. */
  readonly sinceCaptureMs: number;
}

export interface CheckpointedEvent {
  readonly type: "checkpointed";
  /** Frames that were in the WAL, and how many of them are in the database file now. */
  readonly walFrames: number;
  readonly checkpointedFrames: number;
  /** How long writers were held off; 0 if the checkpoint needed no barrier. */
  readonly writeLockHeldMs: number;
}

/** An upload failed and will be tried again. The application goes on; files wait in the spool. */
export interface StoreFailingEvent {
  readonly type: "store-failing";
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly sinceMs: number;
  readonly waitingFiles: number;
  readonly waitingBytes: number;
}

export interface StoreRecoveredEvent {
  readonly type: "store-recovered";
  readonly failedForMs: number;
}

/**
 * Files that waited for the store became one, with the newest state of them: it is stored under TXID `into`. The TXIDs from there to `to` were
 * captured and are not stored as such; those behind `into` are given again.
 */
export interface SpoolMergedEvent {
  readonly type: "spool-merged";
  readonly from: Txid;
  readonly to: Txid;
  readonly into: Txid;
  /** How many became one. */
  readonly files: number;
  /** In the spool, before and after. */
  readonly bytesBefore: number;
  readonly bytes: number;
}

/**
 * The disk of the database is full. Nothing is captured until there is room: commits stay in the WAL, which grows. It is tried again by
 * itself.
 */
export interface SpoolFullEvent {
  readonly type: "spool-full";
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly sinceMs: number;
}

export interface SpoolRecoveredEvent {
  readonly type: "spool-recovered";
  readonly failedForMs: number;
}

/** What the store's conditional writes are worth, tried at the first start of an installation. Anything but `atomic`: a second writer is detected, not prevented. */
export interface StoreProbedEvent {
  readonly type: "store-probed";
  readonly verdict: ConditionalWritesVerdict;
  readonly message: string;
}

/** Another owner's lease is alive: the start waits until it is stale, and then looks again. */
export interface WaitingEvent {
  readonly type: "waiting";
  readonly epoch: number;
  readonly owner: { readonly host: string; readonly pid: number };
  /** Until the lease is stale if nobody renews it, in milliseconds. */
  readonly forMs: number;
  readonly message: string;
}

/** The store is back after a start without it: the epoch is taken, and what waits is shipped. */
export interface EpochTakenEvent {
  readonly type: "epoch-taken";
  readonly epoch: number;
  readonly timeline: string;
}

/** The lease could not be renewed. It stops nothing: only a higher epoch that was seen does. */
export interface LeaseFailingEvent {
  readonly type: "lease-failing";
  readonly code: string;
  readonly message: string;
}

export interface LeaseRenewedEvent {
  readonly type: "lease-renewed";
}

/**
 * Somebody else has taken over this database's replica. Nothing that we commit from now on is part of its line: stop the application.
 * What it still commits is kept, on a timeline of its own that is listed and can be restored.
 */
export interface FencedEvent {
  readonly type: "fenced";
  /** The epoch that took over. */
  readonly by: {
    readonly epoch: number;
    readonly host: string;
    readonly pid: number;
    readonly timeline: string;
  };
  readonly message: string;
}

/** A timeline that branched off has its own base: stock Litestream restores its directory alone. */
export interface BaseStoredEvent {
  readonly type: "base-stored";
  readonly txid: Txid;
  readonly key: string;
  readonly bytes: number;
}

/** The base could not be made or stored, and is tried again. The timeline restores over its parent meanwhile. */
export interface BaseFailingEvent {
  readonly type: "base-failing";
  readonly code: string;
  readonly message: string;
}

/** Another file lies at the database's path. The stream begins a new timeline with it. */
export interface DatabaseReplacedEvent {
  readonly type: "database-replaced";
}

/** The helper process ended by itself and was started again; commits made meanwhile are found by its resume. */
export interface HelperRestartedEvent {
  readonly type: "helper-restarted";
  readonly exitCode: number | null;
  readonly signal: string | null;
}

/** The epoch was given up cleanly: whoever has this position may continue the timeline. */
export interface ReleasedEvent {
  readonly type: "released";
  readonly epoch: number;
  readonly timeline: string;
  readonly txid: Txid;
}
