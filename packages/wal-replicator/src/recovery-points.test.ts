import fc from "fast-check";
import { expect, it } from "vitest";
import { toTxid } from "./ltx/txid.ts";
import { recoveryPoints, recoveryRanges } from "./recovery-points.ts";
import type { ReplicaFile } from "./replica/catalog.ts";
import { planRestore } from "./restore/plan-restore.ts";

function file(level: number, min: number, max: number, atMs: number): ReplicaFile {
  return {
    timeline: "t",
    level,
    minTxid: toTxid(min),
    maxTxid: toTxid(max),
    key: `${level}/${min}-${max}`,
    size: 100,
    createdAt: new Date(atMs),
  };
}

it("are exactly the TXIDs that a restore reaches", () => {
  const anyFile = fc
    .tuple(
      fc.integer({ min: 0, max: 9 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 0, max: 5 }),
    )
    .map(([level, min, length]) => file(level, min, min + length, (min + length) * 1000));
  fc.assert(
    fc.property(fc.array(anyFile, { maxLength: 14 }), (files) => {
      const planned: bigint[] = [];
      for (let txid = 1; txid <= 17; txid += 1) {
        if (planRestore(files, { txid: toTxid(txid) }).outcome === "plan")
          planned.push(BigInt(txid));
      }
      expect(recoveryPoints(files).map((point) => point.txid)).toEqual(planned);
    }),
    { numRuns: 2_000 },
  );
});

it("state how precise each part of the past is", () => {
  const files = [
    file(9, 1, 10, 10_000),
    file(2, 11, 20, 40_000),
    file(2, 21, 30, 100_000),
    file(0, 31, 31, 101_000),
    file(0, 32, 32, 500_000),
  ];
  expect(recoveryRanges(recoveryPoints(files))).toEqual([
    { level: 9, from: new Date(10_000), to: new Date(10_000), pointCount: 1, precisionMs: 0 },
    { level: 2, from: new Date(40_000), to: new Date(100_000), pointCount: 2, precisionMs: 60_000 },
    // A quiet hour between two neighbouring TXIDs is no imprecision: nothing was stored in it.
    { level: 0, from: new Date(101_000), to: new Date(500_000), pointCount: 2, precisionMs: 0 },
  ]);
});

it("no files have none", () => {
  expect(recoveryPoints([])).toEqual([]);
  expect(recoveryRanges([])).toEqual([]);
});
