import { describe, expect, it } from "vitest";
import { noSpoolCopies, planSpoolCopies, type SpoolCopyPolicy } from "./plan-spool-copies.ts";

const policy: SpoolCopyPolicy = { filesMax: 3, bytesMax: 10 * 4096, fileBytesMax: 5 * 4096 };
/** Of so many blocks of the disk, oldest first. */
const copies = (...blocks: number[]): { readonly size: number }[] =>
  blocks.map((count) => ({ size: count * 4096 }));
const kept = (...blocks: number[]): number[] =>
  planSpoolCopies(copies(...blocks), policy).map(({ size }) => size / 4096);

describe("copies of stored files", () => {
  it("the oldest go first: those beyond the number", () => {
    expect(kept(1, 1, 1, 2)).toEqual([1, 1, 2]);
  });

  it("the oldest go first: those beyond the bytes, and everything before them", () => {
    expect(kept(1, 5, 4, 3)).toEqual([4, 3]);
  });

  it("a large file is left out, and does not push out the small ones before it", () => {
    expect(kept(1, 6, 2)).toEqual([1, 2]);
  });

  it("counts what a small file takes on the disk", () => {
    const small = Array.from({ length: 20 }, () => ({ size: 1 }));
    expect(planSpoolCopies(small, { ...policy, filesMax: 100 })).toHaveLength(10);
  });

  it("none, where nothing is compacted", () => {
    expect(planSpoolCopies(copies(1, 1), noSpoolCopies)).toEqual([]);
  });
});
