import { formatDuration } from "wal-replicator/command-line";
import type { StatusReport } from "../health/status-report.ts";

/** `last proven 3 h ago, at 2026-…`, and what came of the newest drill if that was another one. */
export function describeDrill({
  lastProvenRestore,
  provenRestoreAgeSeconds,
  drill,
}: Pick<StatusReport, "lastProvenRestore" | "provenRestoreAgeSeconds" | "drill">): string {
  const proved =
    lastProvenRestore === null || provenRestoreAgeSeconds === null
      ? "never"
      : `last proven ${formatDuration(provenRestoreAgeSeconds * 1_000)} ago, at ${lastProvenRestore}`;
  if (drill === null) return proved;
  const { outcome, endedAt, message, intervalMs } = drill;
  if (outcome === "failed") return `FAILED at ${endedAt}: ${message}; ${proved}`;
  if (outcome === "inconclusive") return `${proved}; at ${endedAt}: ${message}`;
  return intervalMs === 0 ? proved : `${proved}; every ${formatDuration(intervalMs)}`;
}
