import {
  CommandError,
  type CommandSpec,
  exitCodes,
  formatBytes,
  formatCount,
  formatDuration,
} from "wal-replicator/command-line";
import { isRunning } from "../daemon/process-identity.ts";
import type { EpochOwner, FilesStatus } from "../daemon/status-file.ts";
import { readDaemonStatus } from "../health/read-daemon-status.ts";
import { describeStatus, type StatusReport } from "../health/status-report.ts";
import { describeDrill } from "./describe-drill.ts";
import { describeWatch } from "./describe-watch.ts";

export const statusCommand: CommandSpec<object> = {
  name: "status",
  summary: "what the daemon does: role, position, what is stored and what waits",
  args: [],
  options: [],
  examples: ["vaultwarden-stream status", "docker exec vault vaultwarden-stream status --json"],
  doing: () => "looking at the daemon",
  run: async ({ output, streams }) => {
    const { settings, status } = readDaemonStatus(streams.env);
    if (status === undefined) {
      throw new CommandError("NO_DAEMON", {
        what: "there is nothing to report",
        why: `no daemon has run on ${settings.database}`,
        next: "start one with `vaultwarden-stream run`, or set DATA_FOLDER as the daemon has it",
      });
    }
    const report = describeStatus(status, isRunning(status.daemon), streams.now());
    output.result(report, formatStatus(report));
    return exitCodes.done;
  },
};

export function formatStatus(report: StatusReport): string {
  const lines: [string, string][] = [
    ["daemon", describeLife(report)],
    ["role", report.role],
    [
      "vault",
      report.serverPid === null ? "not running" : `${report.url} (process ${report.serverPid})`,
    ],
    ["database", report.database],
    ["store", report.store],
    ["second writer", describeSecondWriter(report)],
    ["position", describePosition(report)],
    ["lag", describeLag(report)],
  ];
  if (report.storedAsOf !== null) lines.push(["stored as of", report.storedAsOf]);
  lines.push(...describeWatch(report));
  lines.push(["files", describeFiles(report)], ["restore proof", describeDrill(report)]);
  for (const { path, why } of report.files?.problems ?? []) lines.push(["", `${path}: ${why}`]);
  const { restoring, waitingFor, leaseFailure, fencedBy } = report;
  if (restoring !== null) {
    const { bytesDone, bytesTotal, since } = restoring;
    lines.push([
      "restoring",
      `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}, since ${since}`,
    ]);
  }
  if (waitingFor !== null) {
    lines.push([
      "waits for",
      `${describeOwner(waitingFor)}, until ${waitingFor.until} at most if nobody renews its lease`,
    ]);
  }
  if (leaseFailure !== null) {
    lines.push([
      "lease",
      `not renewed since ${leaseFailure.since}: ${leaseFailure.message} (${leaseFailure.code})`,
    ]);
  }
  if (fencedBy !== null) {
    lines.push([
      "fenced by",
      `${describeOwner(fencedBy)}, which goes on in timeline ${fencedBy.timeline}`,
    ]);
  }
  if (report.failure !== null)
    lines.push(["failure", `${report.failure.message} (${report.failure.code})`]);
  return lines
    .map(([name, text]) => `${(name === "" ? "" : `${name}:`).padEnd(15)}${text}`)
    .join("\n");
}

function describeSecondWriter({ createIfAbsent }: StatusReport): string {
  if (createIfAbsent === null) return "not known yet what the store does about one";
  return createIfAbsent === "atomic"
    ? "prevented by the store"
    : "only detected, not prevented: the store's conditional writes are not proved";
}

function describeOwner({ epoch, host, pid }: EpochOwner): string {
  return `epoch ${epoch} of process ${pid} on ${host}`;
}

function describeLife({ running, pid, status, datetime }: StatusReport): string {
  if (running) return `${status === "error" ? "runs, with an error" : "runs"} (process ${pid})`;
  if (status === "shutdown") return `does not run; it ended cleanly at ${datetime}`;
  return `does not run; process ${pid} is gone without a clean end, its last word is of ${datetime}`;
}

function describePosition({ timeline, epoch, capturedTxid, storedTxid }: StatusReport): string {
  if (timeline === null) return "none yet";
  return `timeline ${timeline}, ${epoch === null ? "no epoch until the store answers" : `epoch ${epoch}`}, captured ${capturedTxid ?? "nothing"}, stored ${storedTxid ?? "nothing"}`;
}

function describeLag({ lagSeconds, lagBytes, waitingFiles }: StatusReport): string {
  if (waitingFiles === 0) return "nothing waits for the store";
  return `${formatDuration(lagSeconds * 1_000)}, ${formatBytes(lagBytes)} in ${formatCount(waitingFiles, "file")}`;
}

function describeFiles({ files, filesLagSeconds }: StatusReport): string {
  if (files === null) return "nothing is known of attachments, sends and keys yet";
  const stored = `${formatCount(files.files, "file")} in ${formatCount(files.roots, "place")}, ${formatBytes(files.bytes)}`;
  return [stored, describeBacklog(files, filesLagSeconds ?? 0)].join("; ");
}

function describeBacklog(
  { state, reason, waiting, held, backlogSince, lastPush }: FilesStatus,
  lagSeconds: number,
): string {
  const parts: string[] = [];
  if (waiting > 0 || backlogSince !== null) {
    parts.push(`${formatCount(waiting, "file")} waiting for ${formatDuration(lagSeconds * 1_000)}`);
  }
  if (held > 0) parts.push(`${formatCount(held, "deletion")} held back`);
  if (state !== "ok") parts.push(`${state}${reason === undefined ? "" : `: ${reason}`}`);
  if (parts.length > 0) return parts.join(", ");
  return lastPush === null ? "nothing waits for the store" : `stored at ${lastPush}`;
}
