import { readFileSync } from "node:fs";
import {
  CommandError,
  type CommandSpec,
  exitCodes,
  formatBytes,
  formatCount,
  formatDuration,
  usageError,
} from "wal-replicator/command-line";
import { formatProblem } from "../config/config-problem.ts";
import { readServerSettings } from "../config/server-settings.ts";
import { isRunning } from "../daemon/process-identity.ts";
import { type DaemonStatus, type EpochOwner, readStatusFile } from "../daemon/status-file.ts";

export const statusCommand: CommandSpec<object> = {
  name: "status",
  summary: "what the daemon does: role, position, what is stored and what waits",
  args: [],
  options: [],
  examples: ["vaultwarden-stream status", "docker exec vault vaultwarden-stream status --json"],
  doing: () => "looking at the daemon",
  run: async ({ output, streams }) => {
    const { settings, errors } = readServerSettings(streams.env, process.cwd(), (path) =>
      readFileSync(path, "utf8"),
    );
    if (settings === undefined) {
      throw usageError(
        "the vault's settings do not say where its database is",
        errors.map(formatProblem).join("; "),
        errors[0]?.remedy ?? "see --help",
      );
    }
    const status = readStatusFile(settings.database);
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

/** What `status --json` prints. */
export interface StatusReport extends Omit<DaemonStatus, "daemon" | "server"> {
  readonly running: boolean;
  readonly pid: number;
  readonly serverPid: number | null;
  /** Age of the oldest captured commit that the store has not confirmed; 0 if none waits. */
  readonly lagSeconds: number;
  readonly lagBytes: number;
}

export function describeStatus(
  status: DaemonStatus,
  running: boolean,
  nowMs: number,
): StatusReport {
  const { daemon, server, ...rest } = status;
  const sinceMs = status.waitingSince === null ? nowMs : Date.parse(status.waitingSince);
  return {
    ...rest,
    running,
    pid: daemon.pid,
    serverPid: running && server !== null ? server.pid : null,
    lagSeconds: Math.max(0, Math.round((nowMs - sinceMs) / 100) / 10),
    lagBytes: status.waitingBytes,
  };
}

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
  const { waitingFor, leaseFailure, fencedBy } = report;
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
  return lines.map(([name, text]) => `${`${name}:`.padEnd(15)}${text}`).join("\n");
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
