import { describeStage, formatBytes, formatDuration } from "wal-replicator/command-line";
import { type DaemonStatus, heartbeatMs } from "../daemon/status-file.ts";

/** Heartbeats that may be missing on a loaded machine. */
const heartbeatsMissedMax = 3;

/** What those who watch over the stream have found; undefined: nothing. */
export function watchIllness(status: DaemonStatus, nowMs: number): string | undefined {
  const { watch, sourceCheck, budget, timestamp } = status;
  const silentMs = nowMs - timestamp * 1_000;
  // The watchdog is a part of the daemon: a process that stands still as a whole is only seen from outside.
  if (silentMs > (heartbeatsMissedMax + 1) * heartbeatMs) {
    return `the daemon stands still: it has said nothing for ${formatDuration(silentMs)}`;
  }
  const [stall] = watch?.stalls ?? [];
  if (stall !== undefined) {
    return `stalled: ${describeStage(stall.stage)} since ${stall.since}, and no error says why; ${formatBytes(stall.bytes)} wait`;
  }
  if (budget !== null && budget.stoppedUntil !== null) {
    return `uploads are stopped until ${budget.stoppedUntil}: the budget of this hour is used up (${budget.objects} objects, ${formatBytes(budget.bytes)})`;
  }
  if (sourceCheck !== null && sourceCheck.complaint !== null) {
    return `the database is damaged: ${sourceCheck.complaint} (integrity_check of ${sourceCheck.checkedAt})`;
  }
  return undefined;
}
