import type { DaemonStatus } from "../daemon/status-file.ts";

/** What `status --json` and `/status` say: the daemon's own words, and what follows from them at this moment. */
export interface StatusReport extends Omit<DaemonStatus, "daemon" | "server"> {
  readonly running: boolean;
  readonly pid: number;
  readonly serverPid: number | null;
  /** Age of the oldest captured commit that the store has not confirmed; 0 if none waits. */
  readonly lagSeconds: number;
  readonly lagBytes: number;
  /** Age of the oldest file that is not stored; 0 if none waits, null if nothing is known of files. */
  readonly filesLagSeconds: number | null;
  /** Since a restore was last proved; null: never. */
  readonly provenRestoreAgeSeconds: number | null;
}

export function describeStatus(
  status: DaemonStatus,
  running: boolean,
  nowMs: number,
): StatusReport {
  const { daemon, server, ...rest } = status;
  return {
    ...rest,
    running,
    pid: daemon.pid,
    serverPid: running && server !== null ? server.pid : null,
    lagSeconds: secondsSince(status.waitingSince, nowMs),
    lagBytes: status.waitingBytes,
    filesLagSeconds: status.files === null ? null : secondsSince(status.files.backlogSince, nowMs),
    provenRestoreAgeSeconds:
      status.lastProvenRestore === null ? null : secondsSince(status.lastProvenRestore, nowMs),
  };
}

/** To a tenth. 0 for no moment, and for one that a clock takes for the future. */
function secondsSince(time: string | null, nowMs: number): number {
  const sinceMs = time === null ? nowMs : Date.parse(time);
  return Math.max(0, Math.round((nowMs - sinceMs) / 100) / 10);
}
