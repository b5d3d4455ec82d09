import type { Txid } from "../ltx/txid.ts";

/** What the maintainer tells: files of a level were merged, a snapshot is stored, something fails, and works again. */
export type MaintenanceEvent =
  | CompactedEvent
  | SnapshotStoredEvent
  | MaintenanceFailingEvent
  | MaintenanceRecoveredEvent;

/** Files of the level below became one of `level`. They stay until retention removes them. */
export interface CompactedEvent {
  readonly type: "compacted";
  /** 1 … 8. */
  readonly level: number;
  readonly minTxid: Txid;
  readonly maxTxid: Txid;
  readonly key: string;
  /** How many became one. */
  readonly files: number;
  /** Of them, and of the one. */
  readonly bytesBefore: number;
  readonly bytes: number;
}

/** A full copy of the database is stored: a restore begins with it. */
export interface SnapshotStoredEvent {
  readonly type: "snapshot-stored";
  readonly txid: Txid;
  readonly key: string;
  readonly bytes: number;
}

export type MaintenanceWork = "compaction" | "snapshot" | "retention";

/**
 * A part of the maintenance failed, and is tried again with growing pauses; the other parts go on. Nothing is lost by it: the store grows
 * meanwhile, and restores take more files. Told once for each cause.
 */
export interface MaintenanceFailingEvent {
  readonly type: "maintenance-failing";
  readonly work: MaintenanceWork;
  /** Which level is not made; null for what is no compaction. */
  readonly level: number | null;
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly sinceMs: number;
}

export interface MaintenanceRecoveredEvent {
  readonly type: "maintenance-recovered";
  readonly work: MaintenanceWork;
  readonly level: number | null;
  readonly failedForMs: number;
}
