import { defaultMaintenancePolicy, type MaintenancePolicy } from "./policy.ts";

/**
 * The policy of somebody who says how far back moments are to reach and how often a snapshot may be made, and leaves the rest to us: as the default has
 * it, but nothing is kept longer than the retention, and a level whose windows would outlive it is not made.
 *
 * Not every pair of times makes a policy: `replicate` refuses a retention below a minute, or below the snapshot interval.
 *
 * @param times.retentionMs - in milliseconds; 30 days unless given.
 * @param times.snapshotIntervalMs - in milliseconds; a day unless given, or the retention if that is less.
 */
export function policyWithin(times: {
  readonly retentionMs?: number | undefined;
  readonly snapshotIntervalMs?: number | undefined;
}): MaintenancePolicy {
  const { levelIntervalsMs, keepMs, snapshotAtLeastMs } = defaultMaintenancePolicy;
  const retentionMs = times.retentionMs ?? (keepMs.at(-1) as number);
  const snapshotIntervalMs =
    times.snapshotIntervalMs ?? Math.min(defaultMaintenancePolicy.snapshotIntervalMs, retentionMs);
  const levels = levelIntervalsMs.filter(
    (intervalMs, index) => index === 0 || 2 * intervalMs <= retentionMs,
  );
  return {
    ...defaultMaintenancePolicy,
    levelIntervalsMs: levels,
    keepMs: [...keepMs.slice(0, levels.length).map((ms) => Math.min(ms, retentionMs)), retentionMs],
    snapshotIntervalMs,
    snapshotAtLeastMs: Math.max(snapshotIntervalMs, Math.min(snapshotAtLeastMs, retentionMs)),
  };
}
