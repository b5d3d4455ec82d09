import {
  describeStage,
  formatBytes,
  formatCount,
  formatDuration,
} from "wal-replicator/command-line";
import type { StatusReport } from "../health/status-report.ts";

/** What those say who watch over the stream, as lines of a name and a text. */
export function describeWatch(report: StatusReport): [string, string][] {
  const { watch, sourceCheck, maintenance, budget } = report;
  const lines: [string, string][] = [];
  if (watch !== null && watch.uncapturedSince !== null) {
    lines.push([
      "not captured",
      `${formatBytes(watch.uncapturedBytes)} in the WAL, committed since ${watch.uncapturedSince}`,
    ]);
  }
  for (const { stage, since, bytes } of watch?.stalls ?? []) {
    lines.push([
      "STALLED",
      `${describeStage(stage)} since ${since}, and no error says why; ${formatBytes(bytes)} wait`,
    ]);
  }
  if (maintenance !== null) lines.push(["maintenance", describeMaintenance(maintenance)]);
  lines.push(["source check", describeSourceCheck(sourceCheck)]);
  if (budget !== null) lines.push(["this hour", describeBudget(budget)]);
  return lines;
}

function describeMaintenance({
  failures,
  lastCompaction,
  lastSnapshot,
}: NonNullable<StatusReport["maintenance"]>): string {
  const failing = failures.map(
    ({ work, level, since, message, code }) =>
      `${work}${level === null ? "" : ` of level ${level}`} fails since ${since}: ${message} (${code})`,
  );
  const done = `merged ${lastCompaction ?? "nothing yet"}, snapshot ${lastSnapshot ?? "none yet"} in this run`;
  return [...failing, done].join("; ");
}

function describeSourceCheck(check: StatusReport["sourceCheck"]): string {
  if (check === null) return "the vault's own database was not looked through yet";
  const { checkedAt, durationMs, complaint, lastSound } = check;
  if (complaint === null) {
    return `the vault's own database was sound at ${checkedAt} (${formatDuration(durationMs)})`;
  }
  const sound =
    lastSound === null
      ? "it was never found sound here"
      : `it was sound at ${lastSound.at}, TXID ${lastSound.txid} of timeline ${lastSound.timeline}, which is kept`;
  return `the vault's own database is DAMAGED at ${checkedAt}: ${complaint}; ${sound}`;
}

function describeBudget({
  bytes,
  bytesMax,
  objects,
  objectsMax,
  stoppedUntil,
}: NonNullable<StatusReport["budget"]>): string {
  const stopped = stoppedUntil === null ? "" : `UPLOADS ARE STOPPED until ${stoppedUntil}: `;
  const size =
    bytesMax === null ? formatBytes(bytes) : `${formatBytes(bytes)} of ${formatBytes(bytesMax)}`;
  const count =
    objectsMax === null
      ? formatCount(objects, "object")
      : `${objects} of ${formatCount(objectsMax, "object")}`;
  return `${stopped}${count} and ${size} stored`;
}
