import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkPolicy, defaultMaintenancePolicy } from "./policy.ts";
import { policyWithin } from "./policy-within.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

describe("policyWithin", () => {
  it("is the default where nothing is asked for", () => {
    expect(policyWithin({})).toEqual(defaultMaintenancePolicy);
  });

  it("keeps the highest level for the retention, and nothing longer", () => {
    expect(policyWithin({ retentionMs: 90 * dayMs }).keepMs).toEqual([
      hourMs,
      dayMs,
      7 * dayMs,
      90 * dayMs,
    ]);
    expect(policyWithin({ retentionMs: 2 * dayMs })).toMatchObject({
      keepMs: [hourMs, dayMs, 2 * dayMs, 2 * dayMs],
      snapshotIntervalMs: dayMs,
      snapshotAtLeastMs: 2 * dayMs,
    });
  });

  it("makes no level whose windows would outlive the retention", () => {
    expect(policyWithin({ retentionMs: hourMs })).toMatchObject({
      levelIntervalsMs: [30_000, 5 * minuteMs],
      keepMs: [hourMs, hourMs, hourMs],
      snapshotIntervalMs: hourMs,
    });
  });

  it("makes snapshots at least as often as it may", () => {
    const policy = policyWithin({ snapshotIntervalMs: 20 * dayMs });
    expect(policy).toMatchObject({
      snapshotIntervalMs: 20 * dayMs,
      snapshotAtLeastMs: 20 * dayMs,
    });
  });

  it("breaks no law, for a minute or more and at most one snapshot in it", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: minuteMs, max: 400 * dayMs }),
        fc.option(fc.integer({ min: minuteMs, max: 24 * dayMs }), { nil: undefined }),
        (retentionMs, snapshotIntervalMs) => {
          fc.pre((snapshotIntervalMs ?? 0) <= retentionMs);
          checkPolicy(policyWithin({ retentionMs, snapshotIntervalMs }));
        },
      ),
    );
  });

  it.each([
    [{ retentionMs: minuteMs - 1 }, "level 0 to be kept for two intervals of level 1"],
    [{ retentionMs: dayMs, snapshotIntervalMs: 2 * dayMs }, "snapshotAtLeastMs to be at most"],
  ])("leaves it to the laws to refuse %j", (times, law) => {
    expect(() => checkPolicy(policyWithin(times))).toThrow(law);
  });
});
