import { formatDuration } from "wal-replicator/command-line";
import type { DaemonStatus } from "../daemon/status-file.ts";

type Drilled = Pick<DaemonStatus, "drill" | "lastProvenRestore" | "startedAt">;

/** A restore that failed, or that nobody has proved for too long. One that could not be tried is no illness by itself. Pure. */
export function drillIllness(
  { drill, lastProvenRestore, startedAt }: Drilled,
  nowMs: number,
): string | undefined {
  if (drill === null) return undefined;
  if (drill.outcome === "failed") {
    return `the restore drill of ${drill.endedAt} has failed: ${drill.message}`;
  }
  if (drill.ageMsMax === null) return undefined;
  const ageMs = nowMs - Date.parse(lastProvenRestore ?? startedAt);
  if (ageMs <= drill.ageMsMax) return undefined;
  const limit = `(limit ${formatDuration(drill.ageMsMax)})`;
  const why = drill.outcome === "inconclusive" ? `: ${drill.message}` : "";
  return `no restore was proved for ${formatDuration(ageMs)} ${limit}${why}`;
}

/** What somebody should know of a drill although it is no illness. */
export function drillRemarks({ drill }: Pick<DaemonStatus, "drill">): string[] {
  if (drill?.outcome !== "inconclusive") return [];
  return [`the restore drill of ${drill.endedAt} could not be carried out: ${drill.message}`];
}
