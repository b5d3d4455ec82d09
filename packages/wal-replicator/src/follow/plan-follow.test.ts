import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { planRestore } from "../restore/plan-restore.ts";
import { firstBatch, type LineSegment, planFollow } from "./plan-follow.ts";

function file(timeline: string, level: number, min: number, max: number, size = 200): ReplicaFile {
  return {
    ...{ timeline, level, size, key: `${timeline}/${level}/${min}-${max}` },
    minTxid: toTxid(min),
    maxTxid: toTxid(max),
    createdAt: new Date(max * 1_000),
  };
}

function segment(timeline: string, files: readonly ReplicaFile[], upTo?: number): LineSegment {
  return { timeline, files, upTo: upTo === undefined ? undefined : toTxid(upTo) };
}

const at = (timeline: string, txid: number) => ({ timeline, txid: toTxid(txid) });

describe("planFollow", () => {
  const levelZero = [1, 2, 3, 4, 5].map((txid) => file("a", 0, txid, txid));

  it("has nothing to do at the newest TXID, and nothing behind it", () => {
    expect(planFollow(at("a", 5), [segment("a", levelZero)])).toEqual({ kind: "current" });
    expect(planFollow(at("a", 7), [segment("a", levelZero)])).toEqual({ kind: "current" });
  });

  it("takes what reaches furthest, also if it begins before the copy", () => {
    const merged = file("a", 1, 2, 4);
    const plan = planFollow(at("a", 2), [segment("a", [...levelZero, merged])]);
    expect(plan).toEqual({ kind: "apply", files: [merged, levelZero[4]] });
  });

  it("goes over from an ancestor to the head at the branch, and takes nothing of the ancestor behind it", () => {
    const straddling = file("a", 1, 3, 5);
    const head = [file("b", 0, 4, 4), file("b", 9, 1, 4)];
    const line = [segment("a", [...levelZero, straddling], 3), segment("b", head)];
    expect(planFollow(at("a", 1), line)).toEqual({
      kind: "apply",
      files: [levelZero[1], levelZero[2], head[0]],
    });
  });

  it("restores where the copy has more than the line that goes on", () => {
    const line = [segment("a", levelZero, 3), segment("b", [file("b", 0, 4, 4)])];
    expect(planFollow(at("a", 4), line)).toEqual({ kind: "restore", reason: "diverged" });
    expect(planFollow(at("c", 2), line)).toEqual({ kind: "restore", reason: "other-line" });
  });

  it("waits at a head that will branch off and has not yet", () => {
    expect(planFollow(at("a", 2), [segment("a", levelZero, 3)])).toEqual({
      kind: "apply",
      files: [levelZero[2]],
    });
    expect(planFollow(at("a", 3), [segment("a", levelZero, 3)])).toEqual({ kind: "current" });
    expect(planFollow(at("a", 5), [segment("a", levelZero, 3)])).toEqual({ kind: "current" });
  });

  it("restores over a gap that a snapshot bridges, and is stuck at one that none does", () => {
    const behind = [file("a", 0, 4, 4), file("a", 0, 5, 5)];
    expect(planFollow(at("a", 2), [segment("a", behind)])).toEqual({
      kind: "stuck",
      next: behind[0],
    });
    const old = file("a", 9, 1, 2);
    expect(planFollow(at("a", 2), [segment("a", [...behind, old])]).kind).toBe("stuck");
    const snapshot = file("a", 9, 1, 4);
    expect(planFollow(at("a", 2), [segment("a", [...behind, snapshot])])).toEqual({
      kind: "restore",
      reason: "gap",
    });
  });

  it("takes others instead of a damaged file where there are some", () => {
    const damaged = file("a", 1, 3, 4);
    const without = new Set([damaged.key]);
    const plan = planFollow(at("a", 2), [segment("a", [...levelZero, damaged])], without);
    expect(plan).toEqual({ kind: "apply", files: levelZero.slice(2) });
    const alone = [damaged, levelZero[4] as ReplicaFile];
    expect(planFollow(at("a", 2), [segment("a", alone)], without).kind).toBe("stuck");
  });

  it("ends where a restore ends, over contiguous files, from every TXID of theirs", () => {
    const range = fc.record({ level: fc.integer({ min: 0, max: 3 }), lengths: lengths() });
    fc.assert(
      fc.property(fc.array(range, { minLength: 1, maxLength: 5 }), fc.nat(), (levels, pick) => {
        const files = levels.flatMap(({ level, lengths: parts }) => {
          let min = 1;
          return parts.map((length) => {
            const made = file("a", level, min, min + length - 1);
            min += length;
            return made;
          });
        });
        const restored = planRestore(files);
        if (restored.outcome !== "plan") return;
        const ends = files.map(({ maxTxid }) => Number(maxTxid));
        const from = ends[pick % ends.length] as number;
        const plan = planFollow(at("a", from), [segment("a", files)]);
        if (BigInt(from) >= restored.txid) expect(plan).toEqual({ kind: "current" });
        else {
          expect(plan.kind).toBe("apply");
          let reached = BigInt(from);
          for (const { minTxid, maxTxid } of plan.kind === "apply" ? plan.files : []) {
            expect(minTxid <= reached + 1n && maxTxid > reached).toBe(true);
            reached = maxTxid;
          }
          expect(reached).toBe(restored.txid);
        }
      }),
    );
  });
});

function lengths(): fc.Arbitrary<number[]> {
  return fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 8 });
}

describe("firstBatch", () => {
  it("is bounded in files and bytes, and never empty", () => {
    const small = Array.from({ length: 100 }, (_, index) => file("a", 0, index + 1, index + 1));
    expect(firstBatch(small)).toHaveLength(64);
    expect(firstBatch(small.slice(0, 5))).toHaveLength(5);
    const large = [1, 2, 3].map((txid) => file("a", 0, txid, txid, 12 << 20));
    expect(firstBatch(large)).toHaveLength(1);
  });
});
