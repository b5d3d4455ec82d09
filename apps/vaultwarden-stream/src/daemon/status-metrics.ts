import type { Health } from "../health/assess-health.ts";
import type { StatusReport } from "../health/status-report.ts";
import { counterFamilies } from "./counter-metrics.ts";
import { type Family, formatFamilies } from "./metrics-text.ts";
import type { CounterReadings } from "./stream-counters.ts";

export interface MetricsSource {
  readonly report: StatusReport;
  readonly health: Health;
  readonly counters: CounterReadings;
  /** Of vaultwarden-stream. */
  readonly version: string;
}

/**
 * Status and counters in Prometheus' text format. A gauge is as of now; a counter counts since the daemon began, and only grows. What is not
 * known is left out.
 */
export function formatMetrics(
  { report, health, counters, version }: MetricsSource,
  nowMs: number,
): string {
  return formatFamilies([
    ...lifeFamilies({ report, health, version }, nowMs),
    ...databaseFamilies(report, nowMs),
    ...filesFamilies(report),
    ...proofFamilies(report),
    ...counterFamilies(counters),
    ...budgetFamilies(report),
  ]);
}

function lifeFamilies(
  { report, health, version }: Omit<MetricsSource, "counters">,
  nowMs: number,
): readonly Family[] {
  const isStarting = health.healthy && health.phase === "starting";
  const { role, timeline, store, createIfAbsent, leaseFailure } = report;
  return [
    {
      name: "info",
      help: "What this daemon writes, and where.",
      type: "gauge",
      samples: [
        {
          labels: {
            role,
            timeline: timeline ?? "",
            store,
            create_if_absent: createIfAbsent ?? "",
          },
          value: 1,
        },
      ],
    },
    {
      name: "build_info",
      help: "What runs here.",
      type: "gauge",
      samples: [{ labels: { version, node: process.version }, value: 1 }],
    },
    gauge("up", "1 if the vault runs and answers.", toNumber(health.healthy && !isStarting)),
    gauge("healthy", "1 as long as healthcheck says OK; a start counts.", toNumber(health.healthy)),
    gauge("uptime_seconds", "Since the daemon began.", age(report.startedAt, nowMs)),
    gauge("fenced", "1 if another machine has taken over.", toNumber(report.fencedBy !== null)),
    gauge(
      "failing",
      "1 while the store or the disk refuses something.",
      toNumber(report.failure !== null),
    ),
    gauge("epoch", "Number of this writer's epoch.", report.epoch),
    gauge(
      "lease_unrenewed_seconds",
      "Since when the lease cannot be renewed; 0 if it can.",
      leaseFailure === null ? 0 : age(leaseFailure.since, nowMs),
    ),
  ];
}

function databaseFamilies(report: StatusReport, nowMs: number): readonly Family[] {
  const { watch } = report;
  return [
    gauge(
      "database_lag_seconds",
      "Age of the oldest commit that is not stored.",
      report.lagSeconds,
    ),
    gauge("database_lag_bytes", "Bytes that wait for the store.", report.lagBytes),
    gauge(
      "database_uncaptured_seconds",
      "Age of the oldest commit that the watchdog sees and that is not captured; 0 if all are.",
      watch === null
        ? null
        : watch.uncapturedSince === null
          ? 0
          : age(watch.uncapturedSince, nowMs),
    ),
    gauge(
      "database_uncaptured_bytes",
      "Bytes of the WAL that are committed and not captured.",
      watch === null ? null : watch.uncapturedBytes,
    ),
    gauge(
      "database_captured_txid",
      "Newest transaction that is captured.",
      toTxid(report.capturedTxid),
    ),
    gauge("database_stored_txid", "Newest transaction that is stored.", toTxid(report.storedTxid)),
    gauge(
      "database_stored_as_of_timestamp_seconds",
      "Every commit before this moment is stored.",
      toSeconds(report.storedAsOf),
    ),
    gauge(
      "database_last_commit_timestamp_seconds",
      "When the database was last written to.",
      toSeconds(report.lastCommitAt),
    ),
    gauge(
      "wal_bytes",
      "Captured part of the WAL, which the next checkpoints empty.",
      watch === null ? null : watch.walBytes,
    ),
    gauge("spool_files", "Files in the spool that wait for the store.", report.waitingFiles),
    gauge("spool_bytes", "Their size.", report.waitingBytes),
    {
      name: "stalled",
      help: "1 for a stage that does not get on although no error says why.",
      type: "gauge",
      samples: (["capture", "upload", "maintenance"] as const).map((stage) => ({
        labels: { stage },
        value:
          watch === null ? null : toNumber(watch.stalls.some((stall) => stall.stage === stage)),
      })),
    },
  ];
}

function filesFamilies({ files, filesLagSeconds }: StatusReport): readonly Family[] {
  const known = (value: (known: NonNullable<StatusReport["files"]>) => number | null) =>
    files === null ? null : value(files);
  return [
    gauge("files_lag_seconds", "Age of the oldest file that is not stored.", filesLagSeconds),
    gauge(
      "files_count",
      "Files of the vault that are kept in the store.",
      known((of) => of.files),
    ),
    gauge(
      "files_bytes",
      "Their size.",
      known((of) => of.bytes),
    ),
    gauge(
      "files_waiting",
      "Files that wait for the store.",
      known((of) => of.waiting),
    ),
    gauge(
      "files_held",
      "Deletions of files that are held back.",
      known((of) => of.held),
    ),
    gauge(
      "files_last_look_timestamp_seconds",
      "When files were last looked at.",
      known((of) => toSeconds(of.lastLook)),
    ),
    gauge(
      "files_last_push_timestamp_seconds",
      "When files were last stored.",
      known((of) => toSeconds(of.lastPush)),
    ),
  ];
}

function proofFamilies({
  lastProvenRestore,
  drill,
  sourceCheck,
  maintenance,
}: StatusReport): readonly Family[] {
  return [
    gauge(
      "last_proven_restore_timestamp_seconds",
      "When a restore was last proved.",
      toSeconds(lastProvenRestore),
    ),
    gauge(
      "last_drill_timestamp_seconds",
      "When the newest restore drill ended, whatever it found.",
      toSeconds(drill?.endedAt ?? null),
    ),
    gauge(
      "last_drill_failed",
      "1 if what is stored was bad then; 0: it was not.",
      drill === null || drill.outcome === null ? null : toNumber(drill.outcome === "failed"),
    ),
    gauge(
      "source_check_timestamp_seconds",
      "When the vault's own database was last looked through (integrity_check).",
      sourceCheck === null ? null : toSeconds(sourceCheck.checkedAt),
    ),
    gauge(
      "source_sound",
      "1 if it was sound then; 0: it is damaged.",
      sourceCheck === null ? null : toNumber(sourceCheck.complaint === null),
    ),
    gauge(
      "source_last_sound_timestamp_seconds",
      "When it was last found sound.",
      toSeconds(sourceCheck?.lastSound?.at ?? null),
    ),
    gauge(
      "last_compaction_timestamp_seconds",
      "When files were last merged.",
      toSeconds(maintenance?.lastCompaction ?? null),
    ),
    gauge(
      "last_snapshot_timestamp_seconds",
      "When a snapshot was last stored.",
      toSeconds(maintenance?.lastSnapshot ?? null),
    ),
    gauge(
      "maintenance_failing",
      "How many parts of merging, snapshots and removing fail at present.",
      maintenance === null ? null : maintenance.failures.length,
    ),
  ];
}

function budgetFamilies({ budget }: StatusReport): readonly Family[] {
  return [
    gauge("budget_bytes", "Stored in this hour.", budget === null ? null : budget.bytes),
    gauge("budget_bytes_max", "What may be stored in an hour.", budget?.bytesMax ?? null),
    gauge(
      "budget_objects",
      "Objects stored in this hour.",
      budget === null ? null : budget.objects,
    ),
    gauge("budget_objects_max", "How many may be stored in an hour.", budget?.objectsMax ?? null),
    gauge(
      "budget_exceeded",
      "1 while uploads are stopped because an hour's budget is used up.",
      budget === null ? null : toNumber(budget.stoppedUntil !== null),
    ),
  ];
}

function gauge(name: string, help: string, value: number | null): Family {
  return { name, help, type: "gauge", samples: [{ value }] };
}

function toNumber(fact: boolean): number {
  return fact ? 1 : 0;
}

/** Exact up to 2^53 transactions. */
function toTxid(txid: string | null): number | null {
  return txid === null ? null : Number.parseInt(txid, 16);
}

function toSeconds(time: string | null): number | null {
  return time === null ? null : Date.parse(time) / 1_000;
}

function age(since: string, nowMs: number): number {
  return Math.max(0, (nowMs - Date.parse(since)) / 1_000);
}
