import fc from "fast-check";
import { expect, test } from "vitest";
import { FrameLog, type LatestFrames } from "./frame-log.ts";

function pairsOf({ count, pgnos, frameIndexes }: LatestFrames): [number, number][] {
  return Array.from({ length: count }, (_, index) => [
    pgnos[index] as number,
    frameIndexes[index] as number,
  ]);
}

test("the newest committed frame of each page within the size is given, by pgno", () => {
  const pgno = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 0xffffffff }));
  fc.assert(
    fc.property(
      fc.array(pgno, { maxLength: 600 }),
      fc.nat(600),
      fc.nat(0xffffff00),
      pgno,
      (pgnos, committedWanted, firstIndex, commit) => {
        const committed = Math.min(committedWanted, pgnos.length);
        const log = new FrameLog();
        const newest = new Map<number, number>();
        for (const [index, added] of pgnos.entries()) {
          if (index === committed) log.commit();
          log.add(added, firstIndex + index);
          if (index < committed && added <= commit) newest.set(added, firstIndex + index);
        }
        if (committed === pgnos.length) log.commit();
        const expected = [...newest].sort(([a], [b]) => a - b);
        expect(pairsOf(log.latest(commit))).toEqual(expected);
        expect(log.frameCount).toBe(committed);
        // Asking again, and going on afterwards, give the same.
        expect(pairsOf(log.latest(commit))).toEqual(expected);
      },
    ),
  );
});
