import {
  formatTxid,
  type ReplicationStatus,
  type SourceCheckStatus,
  type Stage,
  type StoreUsage,
} from "wal-replicator";
import { formatTime } from "wal-replicator/command-line";
import { z } from "zod";

/** What the watchdog says of the stream, as the status file has it. Times are RFC 3339. */
export interface WatchStatus {
  /** What is committed and not captured: bytes in the WAL, and since when; null: everything is captured. */
  readonly uncapturedBytes: number;
  readonly uncapturedSince: string | null;
  /** Captured frames that are still in the WAL. */
  readonly walBytes: number;
  /** Stages that do not get on, and nothing says why. */
  readonly stalls: readonly {
    readonly stage: Stage;
    readonly since: string;
    readonly bytes: number;
  }[];
}

/** What SQLite's `integrity_check` has last said of the vault's own database. */
export interface SourceCheck {
  readonly checkedAt: string;
  readonly durationMs: number;
  /** Null: it is sound. */
  readonly complaint: string | null;
  /** Up to where it was sound: this recovery point is kept. */
  readonly lastSound: {
    readonly timeline: string;
    readonly txid: string;
    readonly at: string;
  } | null;
}

/** Levels, snapshots and retention in this life of the daemon; null: not in this life. */
export interface Maintenance {
  /** What fails at present, and is tried again. */
  readonly failures: readonly {
    readonly work: MaintenanceWork;
    readonly level: number | null;
    readonly code: string;
    readonly message: string;
    readonly since: string;
  }[];
  readonly lastCompaction: string | null;
  readonly lastSnapshot: string | null;
}

type MaintenanceWork = NonNullable<ReplicationStatus["maintenance"]>["failures"][number]["work"];

/** What may be stored in this hour, and what was. A bound that is null is none. */
export interface Budget {
  readonly bytes: number;
  readonly bytesMax: number | null;
  readonly objects: number;
  readonly objectsMax: number | null;
  /** Uploads are stopped until then; null: they are not. */
  readonly stoppedUntil: string | null;
}

export const watchStatus: z.ZodType<WatchStatus> = z.object({
  uncapturedBytes: z.int(),
  uncapturedSince: z.string().nullable(),
  walBytes: z.int(),
  stalls: z.array(
    z.object({
      stage: z.enum(["capture", "upload", "maintenance"]),
      since: z.string(),
      bytes: z.int(),
    }),
  ),
});

export const sourceCheck: z.ZodType<SourceCheck> = z.object({
  checkedAt: z.string(),
  durationMs: z.number(),
  complaint: z.string().nullable(),
  lastSound: z.object({ timeline: z.string(), txid: z.string(), at: z.string() }).nullable(),
});

export const maintenance: z.ZodType<Maintenance> = z.object({
  failures: z.array(
    z.object({
      work: z.enum(["compaction", "snapshot", "retention"]),
      level: z.int().nullable(),
      code: z.string(),
      message: z.string(),
      since: z.string(),
    }),
  ),
  lastCompaction: z.string().nullable(),
  lastSnapshot: z.string().nullable(),
});

export const budget: z.ZodType<Budget> = z.object({
  bytes: z.number(),
  bytesMax: z.number().nullable(),
  objects: z.number(),
  objectsMax: z.number().nullable(),
  stoppedUntil: z.string().nullable(),
});

export function toWatchStatus(status: ReplicationStatus): WatchStatus {
  const { uncapturedBytes, uncapturedSinceMs, walBytes, stalls } = status;
  return {
    uncapturedBytes,
    uncapturedSince: uncapturedSinceMs === undefined ? null : formatTime(uncapturedSinceMs),
    walBytes,
    stalls: stalls.map(({ stage, sinceMs, bytes }) => ({
      stage,
      since: formatTime(sinceMs),
      bytes,
    })),
  };
}

export function toSourceCheck(status: SourceCheckStatus): SourceCheck {
  const { checkedAtMs, durationMs, complaint, lastSound } = status;
  return {
    checkedAt: formatTime(checkedAtMs),
    durationMs,
    complaint: complaint ?? null,
    lastSound:
      lastSound === undefined
        ? null
        : {
            timeline: lastSound.timeline,
            txid: formatTxid(lastSound.txid),
            at: formatTime(lastSound.atMs),
          },
  };
}

export function toMaintenance(status: NonNullable<ReplicationStatus["maintenance"]>): Maintenance {
  const { failures, lastCompactedAtMs, lastSnapshotAtMs } = status;
  return {
    failures: failures.map(({ work, level, code, message, sinceMs }) => ({
      work,
      level,
      code,
      message,
      since: formatTime(sinceMs),
    })),
    lastCompaction: lastCompactedAtMs === undefined ? null : formatTime(lastCompactedAtMs),
    lastSnapshot: lastSnapshotAtMs === undefined ? null : formatTime(lastSnapshotAtMs),
  };
}

export function toBudget({ budget: used }: StoreUsage, nowMs: number): Budget {
  const bounded = (max: number): number | null => (Number.isFinite(max) ? Math.floor(max) : null);
  return {
    bytes: used.bytes,
    bytesMax: bounded(used.bytesMax),
    objects: used.objects,
    objectsMax: bounded(used.objectsMax),
    stoppedUntil: used.isExceeded ? formatTime(nowMs + used.refillMs) : null,
  };
}
