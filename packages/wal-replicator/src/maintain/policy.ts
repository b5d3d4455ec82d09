/**
 * When files are merged into the next level and when snapshots are made, and for how long what can be asked for (architecture.md D10). All
 * times are milliseconds.
 */
export interface MaintenancePolicy {
  /** Of the levels 1, 2, 3 …: a file covers at most one window of this length, counted from the Unix epoch by `createdAt` of its sources. */
  readonly levelIntervalsMs: readonly number[];
  /** For how long each instant at the precision of level 0, 1, 2 … can be asked for. The last one is the retention. */
  readonly keepMs: readonly number[];
  /** A snapshot is made not more often than this … */
  readonly snapshotIntervalMs: number;
  /** … and at least this often if anything changed. */
  readonly snapshotAtLeastMs: number;
  /** In between it is time once the increments since the last one exceed this share of its size. */
  readonly snapshotGrowth: number;
  /** What nobody can ask for any more stays for so long: well above the time that a restore takes, which may have planned with it. */
  readonly graceMs: number;
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

export const defaultMaintenancePolicy: MaintenancePolicy = {
  levelIntervalsMs: [minuteMs / 2, 5 * minuteMs, hourMs],
  keepMs: [hourMs, dayMs, 7 * dayMs, 30 * dayMs],
  snapshotIntervalMs: dayMs,
  snapshotAtLeastMs: 7 * dayMs,
  snapshotGrowth: 0.5,
  graceMs: hourMs,
};

/** Level 9 is for snapshots. */
const levelCountMax = 8;

/** @throws {RangeError} that names the law which a policy breaks. */
export function checkPolicy(policy: MaintenancePolicy): void {
  const { levelIntervalsMs, keepMs, snapshotIntervalMs, snapshotAtLeastMs, snapshotGrowth } =
    policy;
  const levelCount = levelIntervalsMs.length;
  demand(levelCount >= 1 && levelCount <= levelCountMax, `1 to ${levelCountMax} levels`);
  for (const [name, value] of [
    ...levelIntervalsMs.map((ms, index) => [`the interval of level ${index + 1}`, ms] as const),
    ...keepMs.map((ms, level) => [`the time for which level ${level} is kept`, ms] as const),
    ["snapshotIntervalMs", snapshotIntervalMs] as const,
    ["snapshotAtLeastMs", snapshotAtLeastMs] as const,
    ["graceMs", policy.graceMs] as const,
  ]) {
    demand(Number.isSafeInteger(value) && value > 0, `${name} to be whole milliseconds above 0`);
  }
  demand(Number.isFinite(snapshotGrowth) && snapshotGrowth > 0, "snapshotGrowth to be above 0");
  for (const [index, intervalMs] of levelIntervalsMs.entries()) {
    const below = levelIntervalsMs[index - 1];
    // Else a window of a level would end inside one of the level below, where no file ends.
    demand(
      below === undefined || (intervalMs > below && intervalMs % below === 0),
      `the interval of level ${index + 1} to be a multiple of that of level ${index}`,
    );
  }
  demand(keepMs.length === levelCount + 1, `${levelCount + 1} times in keepMs, one for each level`);
  for (const [level, ms] of keepMs.entries()) {
    demand(ms >= (keepMs[level - 1] ?? 0), `level ${level} to be kept as long as the one below it`);
    const intervalMs = levelIntervalsMs[level] ?? 0;
    demand(
      ms >= 2 * intervalMs,
      `level ${level} to be kept for two intervals of level ${level + 1}`,
    );
  }
  const retentionMs = keepMs[levelCount] as number;
  demand(
    snapshotIntervalMs <= snapshotAtLeastMs,
    "snapshotIntervalMs to be at most snapshotAtLeastMs",
  );
  demand(
    snapshotAtLeastMs <= retentionMs,
    "snapshotAtLeastMs to be at most the time for which the highest level is kept",
  );
}

function demand(holds: boolean, law: string): void {
  if (!holds) throw new RangeError(`the maintenance policy needs ${law}`);
}
