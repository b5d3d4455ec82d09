import type { Txid } from "./ltx/txid.ts";

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
  | DatabaseReplacedEvent
  | HelperRestartedEvent
  | ReleasedEvent;

/** How the stream goes on after the one before it: from the saved WAL position, by comparing pages, or with a full copy. */
export type ResumeAction = "continue" | "compare" | "snapshot";

/** The anchor is held, the epoch is taken: from now on no commit is missed. */
export interface StartedEvent {
  readonly type: "started";
  readonly epoch: number;
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
