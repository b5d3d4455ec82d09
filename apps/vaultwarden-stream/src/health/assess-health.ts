import { formatDuration } from "wal-replicator/command-line";
import { type DaemonStatus, heartbeatMs } from "../daemon/status-file.ts";
import { drillIllness, drillRemarks } from "./drill-health.ts";
import { watchIllness } from "./watch-health.ts";

/** What asking has brought, beside what the status file says. */
export interface HealthAnswers {
  readonly isDaemonRunning: boolean;
  /** What the vault said at its `/alive`. Undefined: it was not asked, since there is none to ask. */
  readonly alive: { readonly ok: true } | { readonly ok: false; readonly why: string } | undefined;
}

export type Health =
  | {
      readonly healthy: true;
      /** `starting`: the vault is not up yet, and all is as it should be. */
      readonly phase: "starting" | "running";
      /** What somebody should know although it is no reason to restart anything. */
      readonly remarks: readonly string[];
    }
  | { readonly healthy: false; readonly reason: string };

/**
 * Whether the vault runs and what it took is safe: from what the store has confirmed, not from what was tried. A store that does not answer
 * is no illness before something has waited too long for it. Pure.
 *
 * @param syncAgeMsMax - how long database and files may lag behind, in milliseconds.
 */
export function assessHealth(
  status: DaemonStatus | undefined,
  answers: HealthAnswers,
  { syncAgeMsMax }: { readonly syncAgeMsMax: number },
  nowMs: number,
): Health {
  if (status === undefined) return ill("no daemon has run here");
  if (!answers.isDaemonRunning) return ill(describeEnd(status));
  const { fencedBy, failure } = status;
  if (fencedBy !== null) {
    return ill(
      `fenced: epoch ${fencedBy.epoch} of process ${fencedBy.pid} on ${fencedBy.host} has taken over, and the vault is stopped here`,
    );
  }
  if (status.server === null) return assessStart(status, syncAgeMsMax, nowMs);
  const { alive } = answers;
  if (alive?.ok !== true) return ill(`the vault does not answer: ${alive?.why ?? "not asked"}`);
  if (failure?.code === "SPOOL_FULL") return ill(`nothing is captured${because(failure)}`);
  const watched = watchIllness(status, nowMs);
  if (watched !== undefined) return ill(watched);
  const reason = databaseLag(status, syncAgeMsMax, nowMs) ?? filesLag(status, syncAgeMsMax, nowMs);
  if (reason !== undefined) return ill(reason + because(failure));
  const drilled = drillIllness(status, nowMs);
  if (drilled !== undefined) return ill(drilled);
  return { healthy: true, phase: "running", remarks: remarksOn(status) };
}

/** A start may restore for long, and wait for another machine for as long as that lives. Neither is helped by another start. */
function assessStart(status: DaemonStatus, syncAgeMsMax: number, nowMs: number): Health {
  const { waitingFor, restoring, timestamp } = status;
  if (waitingFor !== null) {
    const remark = `waits for epoch ${waitingFor.epoch} of process ${waitingFor.pid} on ${waitingFor.host}`;
    return { healthy: true, phase: "starting", remarks: [remark] };
  }
  const progressMs = restoring === null ? timestamp * 1_000 : Date.parse(restoring.progressAt);
  const stillMs = nowMs - progressMs;
  const what = restoring === null ? "the start" : "the restore";
  if (stillMs > syncAgeMsMax) return ill(`${what} has not got on for ${formatDuration(stillMs)}`);
  const remarks = restoring === null ? [] : ["brings the database back from the store"];
  return { healthy: true, phase: "starting", remarks };
}

function databaseLag(
  { waitingSince, storedAsOf, streamingSince }: DaemonStatus,
  syncAgeMsMax: number,
  nowMs: number,
): string | undefined {
  const limit = `(limit ${formatDuration(syncAgeMsMax)})`;
  const waitedMs = since(waitingSince, nowMs);
  if (waitedMs > syncAgeMsMax) {
    return `the oldest commit has waited for the store for ${formatDuration(waitedMs)} ${limit}`;
  }
  // Also finds a stream or a reporter that has stopped in silence. Idle, it is written down with each heartbeat only.
  const unconfirmedMs = since(storedAsOf ?? streamingSince, nowMs);
  if (unconfirmedMs <= syncAgeMsMax + heartbeatSlack * heartbeatMs) return undefined;
  return `nothing says for ${formatDuration(unconfirmedMs)} that the database is stored ${limit}`;
}

function filesLag(
  { files, streamingSince }: DaemonStatus,
  syncAgeMsMax: number,
  nowMs: number,
): string | undefined {
  if (files === null) return undefined;
  const limit = `(limit ${formatDuration(syncAgeMsMax)})`;
  const { backlogSince, lastLook, reason } = files;
  const waitedMs = since(backlogSince, nowMs);
  if (waitedMs > syncAgeMsMax) {
    return `files have waited for the store for ${formatDuration(waitedMs)} ${limit}${reason === undefined ? "" : `: ${reason}`}`;
  }
  const unseenMs = since(lastLook ?? streamingSince, nowMs);
  if (unseenMs > syncAgeMsMax + heartbeatSlack * heartbeatMs) {
    return `nobody has looked at the files for ${formatDuration(unseenMs)} ${limit}`;
  }
  return undefined;
}

/** A heartbeat may just have been missed, and the next one is late on a loaded machine. */
const heartbeatSlack = 2;

function remarksOn({ leaseFailure, files, failure, drill }: DaemonStatus): readonly string[] {
  const remarks: string[] = [];
  if (failure !== null) remarks.push(`${failure.message} (${failure.code})`);
  if (leaseFailure !== null) {
    remarks.push(`the lease is not renewed since ${leaseFailure.since}: ${leaseFailure.message}`);
  }
  if (files?.state === "held") remarks.push(files.reason ?? "deletions of files are held back");
  return [...remarks, ...drillRemarks({ drill })];
}

function describeEnd({ status, daemon, datetime, failure }: DaemonStatus): string {
  if (status === "shutdown") return `the daemon does not run; it ended cleanly at ${datetime}`;
  return `the daemon does not run: process ${daemon.pid} is gone, its last word is of ${datetime}${because(failure)}`;
}

function because(failure: DaemonStatus["failure"]): string {
  return failure === null ? "" : `: ${failure.message} (${failure.code})`;
}

function since(time: string | null, nowMs: number): number {
  return time === null ? 0 : nowMs - Date.parse(time);
}

/** One line, whatever an error's message looks like. */
function ill(reason: string): Health {
  return { healthy: false, reason: reason.replaceAll(/\s+/g, " ").trim() };
}
