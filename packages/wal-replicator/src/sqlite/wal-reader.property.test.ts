import fc from "fast-check";
import { expect, test } from "vitest";
import { type BuiltFrame, buildWal, headerOf, sourceOf } from "./wal-builder.ts";
import {
  findLatestFrames,
  scanWal,
  startOfWal,
  verifyFrameAt,
  type WalScan,
} from "./wal-reader.ts";

const fields = fc.record({
  order: fc.constantFrom("little-endian" as const, "big-endian" as const),
  pageSize: fc.constantFrom(512, 1024, 65_536),
  sequence: fc.nat(),
  salt: fc.record({ salt1: fc.nat(0xffffffff), salt2: fc.nat(0xffffffff) }),
});
const frame = fc.record({
  pgno: fc.integer({ min: 1, max: 12 }),
  commit: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 12 })),
  byte: fc.nat(255),
});
const frames = fc.array(frame, { maxLength: 40 });

function built(from: { pgno: number; commit: number; byte: number }[], pageSize: number) {
  return from.map(({ pgno, commit, byte }): BuiltFrame => {
    return { pgno, commit, page: new Uint8Array(pageSize).fill(byte) };
  });
}

function complete(scan: Generator<void, WalScan>): WalScan {
  for (;;) {
    const step = scan.next();
    if (step.done === true) return step.value;
  }
}

function newestOf(scans: readonly WalScan[], commit: number): [number, number][] {
  const newest = new Map<number, number>();
  for (const scan of scans) {
    const { count, pgnos, frameIndexes } = scan.frames.latest(0xffffffff);
    for (let index = 0; index < count; index++) {
      newest.set(pgnos[index] as number, frameIndexes[index] as number);
    }
  }
  return [...newest].filter(([pgno]) => pgno <= commit).sort(([a], [b]) => a - b);
}

test("a scan in random pieces, of a source with random short reads, gives what a scan at once gives", () => {
  fc.assert(
    fc.property(
      fields,
      frames,
      fc.array(fc.nat(50)),
      fc.infiniteStream(fc.nat(2_000)),
      (header, list, limits, reads) => {
        const wal = buildWal(header, built(list, header.pageSize));
        const known = headerOf(wal);
        const once = complete(scanWal(sourceOf(wal), known, startOfWal(known), 0xffffffff));
        const source = sourceOf(wal, () => reads.next().value as number);
        const scans: WalScan[] = [];
        let position = startOfWal(known);
        let commit = 0;
        for (const limit of [...limits.sort((a, b) => a - b), 0xffffffff]) {
          const scan = complete(scanWal(source, known, position, limit));
          scans.push(scan);
          position = scan.end;
          if (scan.commit !== 0) commit = scan.commit;
          expect(verifyFrameAt(source, known, position)).toBe(
            position.frameCount === 0 ? "no-frame" : "match",
          );
        }
        expect(position).toEqual(once.end);
        expect(commit).toBe(once.commit);
        expect(scans.at(-1)?.stop).toBe("end");
        expect(newestOf(scans, commit)).toEqual(newestOf([once], once.commit));
      },
    ),
    { numRuns: 60 },
  );
});

test("the end is behind the last commit frame, whatever the transactions are", () => {
  fc.assert(
    fc.property(fields, frames, fc.nat(45), (header, list, limit) => {
      const wal = buildWal(header, built(list, header.pageSize));
      const known = headerOf(wal);
      const scan = complete(scanWal(sourceOf(wal), known, startOfWal(known), limit));
      const read = list.slice(0, limit);
      const last = read.findLastIndex(({ commit }) => commit !== 0);
      expect(scan.stop).toBe(limit <= list.length ? "limit" : "end");
      expect(scan.end.frameCount).toBe(last + 1);
      expect(scan.commit).toBe(read[last]?.commit ?? 0);
    }),
    { numRuns: 60 },
  );
});

test("the frames found one by one are those that a scan finds", () => {
  fc.assert(
    fc.property(fields, frames, fc.nat(40), (header, list, wanted) => {
      const limit = Math.min(wanted, list.length);
      const wal = buildWal(header, built(list, header.pageSize));
      const pgnos = [1, 2, 3, 4, 5, 6, 7, 8];
      const expected: Record<number, number> = {};
      for (const [frameIndex, { pgno }] of list.slice(0, limit).entries()) {
        if (pgno <= 8) expected[pgno] = frameIndex;
      }
      const found = findLatestFrames(sourceOf(wal), headerOf(wal), limit, pgnos);
      expect(Object.fromEntries(found)).toEqual(expected);
    }),
    { numRuns: 60 },
  );
});
