import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { Catalog, type ReplicaFile } from "../replica/catalog.ts";
import { isSnapshotDue } from "./plan-snapshot.ts";
import { defaultMaintenancePolicy as policy } from "./policy.ts";

const startMs = Date.UTC(2026, 10, 1, 12);
const dayMs = 86_400_000;

function file(level: number, min: number, max: number, size: number, atDay = 0): ReplicaFile {
  return {
    timeline: "t",
    level,
    minTxid: toTxid(min),
    maxTxid: toTxid(max),
    key: `${level}/${min}-${max}`,
    size,
    createdAt: new Date(startMs + atDay * dayMs),
  };
}

function isDue(files: readonly ReplicaFile[], atDay: number): boolean {
  return isSnapshotDue(new Catalog(files), policy, startMs + atDay * dayMs);
}

describe("isSnapshotDue", () => {
  const first = file(0, 1, 1, 1_000);

  it("never without a base of the timeline's own, and never if nothing changed since the newest", () => {
    expect(isDue([], 99)).toBe(false);
    expect(isDue([file(0, 7, 7, 5_000), file(0, 8, 8, 5_000)], 99)).toBe(false);
    expect(isDue([first], 99)).toBe(false);
    expect(isDue([first, file(0, 2, 2, 9_999), file(9, 1, 2, 1_000)], 99)).toBe(false);
  });

  it("a day after the last, if the increments since exceed half of it", () => {
    expect(isDue([first, file(0, 2, 2, 500)], 1)).toBe(false);
    expect(isDue([first, file(0, 2, 2, 501)], 1)).toBe(true);
    expect(isDue([first, file(0, 2, 2, 501)], 0.99)).toBe(false);
    const snapshot = file(9, 1, 5, 2_000, 3);
    expect(isDue([first, file(0, 2, 2, 5_000), snapshot, file(0, 6, 6, 1_000, 3)], 6)).toBe(false);
    expect(isDue([first, file(0, 2, 2, 5_000), snapshot, file(0, 6, 6, 1_001, 3)], 4)).toBe(true);
  });

  it("counts what a restore would read, not what lies beside it", () => {
    const merged = [file(0, 2, 2, 300), file(0, 3, 3, 300), file(1, 2, 3, 320)];
    expect(isDue([first, ...merged], 2)).toBe(false);
  });

  it("a week after the last, if anything changed", () => {
    expect(isDue([first, file(0, 2, 2, 1)], 6.9)).toBe(false);
    expect(isDue([first, file(0, 2, 2, 1)], 7)).toBe(true);
  });

  it("at once where a file is missing behind the base, until a snapshot lies behind the hole", () => {
    const files = [first, file(0, 2, 2, 1), file(0, 4, 4, 1)];
    expect(isDue(files, 0)).toBe(true);
    expect(isDue([...files, file(9, 1, 4, 1_000)], 0)).toBe(false);
  });

  it("by growth alone where a wrong clock has dated the base in the future", () => {
    const base = file(9, 1, 5, 1_000, 400);
    expect(isDue([base, file(0, 6, 6, 501, 400)], 1)).toBe(true);
    expect(isDue([base, file(0, 6, 6, 500, 400)], 1)).toBe(false);
  });
});
