import type { Health } from "../health/assess-health.ts";
import type { StatusReport } from "../health/status-report.ts";

type Sample = readonly [name: string, help: string, value: number | null];

/**
 * The status in Prometheus' text format: gauges only, each as of now, so that nothing has to be counted between two scrapes.
 * What is not known is left out, and never said to be 0.
 */
export function formatMetrics(report: StatusReport, health: Health, nowMs: number): string {
  const isStarting = health.healthy && health.phase === "starting";
  const samples: readonly Sample[] = [
    ["up", "1 if the vault runs and answers.", toNumber(health.healthy && !isStarting)],
    ["healthy", "1 as long as healthcheck says OK; a start counts.", toNumber(health.healthy)],
    ["uptime_seconds", "Since the daemon began.", age(report.startedAt, nowMs)],
    ["fenced", "1 if another machine has taken over.", toNumber(report.fencedBy !== null)],
    [
      "failing",
      "1 while the store or the disk refuses something.",
      toNumber(report.failure !== null),
    ],
    ["epoch", "Number of this writer's epoch.", report.epoch],
    [
      "lease_unrenewed_seconds",
      "Since when the lease cannot be renewed; 0 if it can.",
      report.leaseFailure === null ? 0 : age(report.leaseFailure.since, nowMs),
    ],
    ["database_lag_seconds", "Age of the oldest commit that is not stored.", report.lagSeconds],
    ["database_lag_bytes", "Bytes that wait for the store.", report.lagBytes],
    ["database_captured_txid", "Newest transaction that is captured.", toTxid(report.capturedTxid)],
    ["database_stored_txid", "Newest transaction that is stored.", toTxid(report.storedTxid)],
    [
      "database_stored_as_of_timestamp_seconds",
      "Every commit before this moment is stored.",
      toSeconds(report.storedAsOf),
    ],
    [
      "database_last_commit_timestamp_seconds",
      "When the database was last written to.",
      toSeconds(report.lastCommitAt),
    ],
    ["spool_files", "Files in the spool that wait for the store.", report.waitingFiles],
    ["spool_bytes", "Their size.", report.waitingBytes],
    ["files_lag_seconds", "Age of the oldest file that is not stored.", report.filesLagSeconds],
    ...(report.files === null ? [] : filesSamples(report.files)),
    [
      "last_proven_restore_timestamp_seconds",
      "When a restore was last proved.",
      toSeconds(report.lastProvenRestore),
    ],
  ];
  const info = `vaultwarden_stream_info{${labels({
    role: report.role,
    timeline: report.timeline ?? "",
    store: report.store,
    create_if_absent: report.createIfAbsent ?? "",
  })}} 1\n`;
  return `${describe("info", "What this daemon writes, and where.")}${info}${samples.map(formatSample).join("")}`;
}

function filesSamples(files: NonNullable<StatusReport["files"]>): readonly Sample[] {
  return [
    ["files_count", "Files of the vault that are kept in the store.", files.files],
    ["files_bytes", "Their size.", files.bytes],
    ["files_waiting", "Files that wait for the store.", files.waiting],
    ["files_held", "Deletions of files that are held back.", files.held],
    [
      "files_last_look_timestamp_seconds",
      "When files were last looked at.",
      toSeconds(files.lastLook),
    ],
    [
      "files_last_push_timestamp_seconds",
      "When files were last stored.",
      toSeconds(files.lastPush),
    ],
  ];
}

function formatSample([name, help, value]: Sample): string {
  return value === null ? "" : `${describe(name, help)}vaultwarden_stream_${name} ${value}\n`;
}

function describe(name: string, help: string): string {
  return `# HELP vaultwarden_stream_${name} ${help}\n# TYPE vaultwarden_stream_${name} gauge\n`;
}

function labels(values: Readonly<Record<string, string>>): string {
  const quoted = (text: string): string =>
    text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  return Object.entries(values)
    .map(([name, value]) => `${name}="${quoted(value)}"`)
    .join(",");
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
