import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { compareRanges, type ReplicaFile } from "../replica/catalog.ts";
import { planRestore, type RestoreTarget } from "./plan-restore.ts";

/** Listings as replicas have them and worse: overlaps, holes, merged ranges, snapshots, times that go backwards. */
const listing: fc.Arbitrary<ReplicaFile[]> = fc
  .array(
    fc.record({
      level: fc.constantFrom(0, 0, 0, 1, 1, 2, 3, 8, 9),
      min: fc.integer({ min: 1, max: 12 }),
      length: fc.integer({ min: 0, max: 6 }),
      time: fc.integer({ min: 0, max: 20 }),
    }),
    { maxLength: 24 },
  )
  .map((entries) => {
    const byRange = new Map<string, ReplicaFile>();
    for (const { level, min, length, time } of entries) {
      const minTxid = toTxid(level === 9 ? 1 : min);
      const maxTxid = toTxid(min + length);
      const key = `${level}/${minTxid}-${maxTxid}`;
      byRange.set(key, {
        timeline: "",
        level,
        minTxid,
        maxTxid,
        key,
        size: 200,
        createdAt: new Date(time),
      });
    }
    return [...byRange.values()];
  });

const target: fc.Arbitrary<RestoreTarget> = fc.oneof(
  fc.constant({}),
  fc.integer({ min: 1, max: 18 }).map((txid) => ({ txid: toTxid(txid) })),
  fc.integer({ min: 0, max: 21 }).map((time) => ({ before: new Date(time) })),
);

/** Stock's algorithm written down naively, step by step as replica-layout.md 7 tells it; undefined where stock gives an error. */
function planLikeStock(
  files: readonly ReplicaFile[],
  { txid, before }: RestoreTarget,
): string[] | undefined {
  const isEligible = (file: ReplicaFile): boolean =>
    !(txid !== undefined && file.maxTxid > txid) &&
    !(before !== undefined && file.createdAt.getTime() >= before.getTime());
  const levelOf = (level: number): ReplicaFile[] =>
    files.filter((file) => file.level === level).toSorted(compareRanges);
  const plan: ReplicaFile[] = [];
  let cur = 0n;
  const base = levelOf(9).filter(isEligible).at(-1);
  if (base !== undefined) {
    plan.push(base);
    cur = base.maxTxid;
  }
  while (txid === undefined || cur < txid) {
    let best: ReplicaFile | undefined;
    for (const level of [8, 7, 6, 5, 4, 3, 2, 1, 0]) {
      for (const file of levelOf(level)) {
        if (!isEligible(file) || file.minTxid > cur + 1n || file.maxTxid <= cur) continue;
        const isBetter =
          best === undefined ||
          file.maxTxid > best.maxTxid ||
          (file.maxTxid === best.maxTxid &&
            (file.minTxid < best.minTxid ||
              (file.minTxid === best.minTxid &&
                (file.level > best.level ||
                  (file.level === best.level && file.createdAt < best.createdAt)))));
        if (isBetter) best = file;
      }
    }
    if (best === undefined) break;
    plan.push(best);
    cur = best.maxTxid;
  }
  if (plan.length === 0 || (txid !== undefined && cur !== txid)) return undefined;
  const goesOn = files.some((file) => file.level < 9 && file.minTxid > cur + 1n);
  if (txid === undefined && before === undefined && goesOn) return undefined;
  return plan.map((file) => file.key);
}

describe("planRestore", () => {
  it("is a chain from TXID 1 without a hole, that ends where it says and where it was asked to", () => {
    fc.assert(
      fc.property(listing, target, (files, asked) => {
        const plan = planRestore(files, asked);
        if (plan.outcome !== "plan") return;
        let reached = 0n;
        for (const file of plan.files) {
          expect(file.minTxid <= reached + 1n).toBe(true);
          expect(file.maxTxid > reached).toBe(true);
          expect(asked.before === undefined || file.createdAt < asked.before).toBe(true);
          reached = file.maxTxid;
        }
        expect(plan.txid).toBe(reached);
        if (asked.txid !== undefined) expect(plan.txid).toBe(asked.txid);
      }),
      { numRuns: 2_000 },
    );
  });

  it("does not depend on the order of the listing", () => {
    fc.assert(
      fc.property(listing, target, fc.func(fc.integer()), (files, asked, rank) => {
        const shuffled = files.toSorted((a, b) => rank(a.key) - rank(b.key));
        expect(planRestore(shuffled, asked)).toEqual(planRestore(files, asked));
      }),
      { numRuns: 500 },
    );
  });

  it("takes stock's files wherever stock has a plan, and refuses where stock refuses or passes over a hole", () => {
    fc.assert(
      fc.property(listing, target, (files, asked) => {
        const stock = planLikeStock(files, asked);
        const ours = planRestore(files, asked);
        switch (ours.outcome) {
          case "plan":
            expect(ours.files.map((file) => file.key)).toEqual(stock);
            break;
          case "hole":
            // Only with a time does stock restore what lies before a hole.
            if (asked.before === undefined) expect(stock).toBeUndefined();
            else expect(ours.files.map((file) => file.key)).toEqual(stock);
            break;
          default:
            expect(stock).toBeUndefined();
        }
      }),
      { numRuns: 3_000 },
    );
  });
});
