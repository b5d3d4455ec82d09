import { describe, expect, it } from "vitest";
import { checkPolicy, defaultMaintenancePolicy, type MaintenancePolicy } from "./policy.ts";

describe("checkPolicy", () => {
  it("accepts the default, and a policy with the fewest and the most levels", () => {
    checkPolicy(defaultMaintenancePolicy);
    const small = { snapshotIntervalMs: 1, snapshotAtLeastMs: 2, graceMs: 1 };
    checkPolicy({ ...small, levelIntervalsMs: [5], keepMs: [10, 10], snapshotGrowth: 2 });
    const levelIntervalsMs = [1, 2, 4, 8, 16, 32, 64, 128];
    const keepMs = [...levelIntervalsMs.map((ms) => 2 * ms), 1_000];
    checkPolicy({ ...small, levelIntervalsMs, keepMs, snapshotGrowth: 0.1 });
  });

  it.each<[Partial<MaintenancePolicy>, string]>([
    [{ levelIntervalsMs: [], keepMs: [1] }, "1 to 8 levels"],
    [{ levelIntervalsMs: [1, 2, 3, 4, 5, 6, 7, 8, 9] }, "1 to 8 levels"],
    [
      { levelIntervalsMs: [30_000, 300_000, 300_000] },
      "the interval of level 3 to be a multiple of that of level 2",
    ],
    [
      { levelIntervalsMs: [30_000, 100_000, 300_000] },
      "the interval of level 2 to be a multiple of that of level 1",
    ],
    [{ levelIntervalsMs: [0, 300_000, 3_600_000] }, "the interval of level 1 to be whole"],
    [{ levelIntervalsMs: [30_000, Number.NaN, 3_600_000] }, "the interval of level 2 to be whole"],
    [{ keepMs: [3_600_000, 86_400_000, 604_800_000] }, "4 times in keepMs"],
    [
      { keepMs: [3_600_000, 86_400_000, 86_300_000, 2_592_000_000] },
      "level 2 to be kept as long as the one below it",
    ],
    [
      { keepMs: [59_999, 86_400_000, 604_800_000, 2_592_000_000] },
      "level 0 to be kept for two intervals of level 1",
    ],
    [
      { keepMs: [60_000, 599_999, 604_800_000, 2_592_000_000] },
      "level 1 to be kept for two intervals of level 2",
    ],
    [{ keepMs: [3_600_000, 86_400_000, 604_800_000, Infinity] }, "level 3 is kept to be whole"],
    [{ snapshotIntervalMs: 0 }, "snapshotIntervalMs to be whole"],
    [{ snapshotIntervalMs: 604_800_001 }, "snapshotIntervalMs to be at most snapshotAtLeastMs"],
    [{ snapshotAtLeastMs: 2_592_000_001 }, "snapshotAtLeastMs to be at most the time"],
    [{ snapshotGrowth: 0 }, "snapshotGrowth to be above 0"],
    [{ snapshotGrowth: Number.POSITIVE_INFINITY }, "snapshotGrowth to be above 0"],
    [{ graceMs: 0 }, "graceMs to be whole"],
    [{ graceMs: 0.5 }, "graceMs to be whole"],
  ])("refuses %j and names the law", (change, law) => {
    const check = (): void => checkPolicy({ ...defaultMaintenancePolicy, ...change });
    expect(check).toThrow(RangeError);
    expect(check).toThrow(law);
  });
});
