import { describe, expect, it } from "vitest";
import type { DrillStatus } from "../daemon/drill-status.ts";
import { exampleStatus } from "../daemon/status-testing.ts";
import { assessHealth } from "./assess-health.ts";

const now = Date.parse("2026-11-24T22:00:10.000Z");
const before = (hours: number): string => new Date(now - hours * 3_600_000).toISOString();
const drill: DrillStatus = {
  intervalMs: 86_400_000,
  ageMsMax: 49 * 3_600_000,
  outcome: "proved",
  endedAt: before(3),
  message: "restore proved",
  key: "proofs/x.json",
};

function assess(
  changes: Partial<DrillStatus> | null,
  lastProvenRestore: string | null,
  startedAt = before(1),
) {
  return assessHealth(
    {
      ...exampleStatus,
      startedAt,
      lastProvenRestore,
      drill: changes === null ? null : { ...drill, ...changes },
    },
    { isDaemonRunning: true, alive: { ok: true } },
    { syncAgeMsMax: 600_000 },
    now,
  );
}

describe("health, by restore drills", () => {
  it("is good with a proved restore, without any yet, and where there are none", () => {
    expect(assess({}, before(3))).toMatchObject({ healthy: true });
    expect(assess({ outcome: null, endedAt: null }, null)).toMatchObject({ healthy: true });
    expect(assess(null, null, before(900))).toMatchObject({ healthy: true });
  });

  it("is bad at once when a restore has failed, however new the last proved one is", () => {
    const health = assess(
      { outcome: "failed", message: "RESTORE FAILED: one: missing" },
      before(4),
    );
    expect(health).toMatchObject({
      healthy: false,
      reason: `the restore drill of ${before(3)} has failed: RESTORE FAILED: one: missing`,
    });
  });

  it("is bad when no restore was proved for too long, counted from the start if there never was one", () => {
    expect(assess({}, before(48))).toMatchObject({ healthy: true });
    expect(assess({}, before(50))).toMatchObject({
      healthy: false,
      reason: "no restore was proved for 2 d 2 h (limit 2 d 1 h)",
    });
    expect(assess({ outcome: null }, null, before(50))).toMatchObject({ healthy: false });
  });

  it("is good, with a remark, while one could not be carried out; and bad when that has lasted", () => {
    const changes = { outcome: "inconclusive", message: "the disk is too small" } as const;
    expect(assess(changes, before(20))).toMatchObject({
      healthy: true,
      remarks: [expect.stringContaining("the disk is too small")],
    });
    expect(assess(changes, before(50))).toMatchObject({
      healthy: false,
      reason: expect.stringContaining("the disk is too small"),
    });
  });

  it("does not count on drills where the process may not live so long", () => {
    expect(assess({ ageMsMax: null }, before(900), before(900))).toMatchObject({ healthy: true });
    expect(assess({ ageMsMax: null, outcome: "failed" }, null)).toMatchObject({ healthy: false });
  });
});
