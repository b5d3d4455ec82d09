import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextTxid, toTxid } from "../ltx/txid.ts";
import {
  bytesOnDisk,
  planSpoolMerge,
  type SpoolMergePolicy,
  spoolBytesMax,
  type WaitingFile,
} from "./plan-spool-merge.ts";

const policy: SpoolMergePolicy = { filesMax: 8, bytesMax: 64 * 1024 };
const pageBytes = 4096;
const fileBytes = (pages: ReadonlySet<number>): number => pages.size * pageBytes;

/** A spool of files that are nothing but sets of pages: as the engine fills it, merges it, and ships from it. */
class ModelSpool {
  files: { name: WaitingFile["name"]; pages: ReadonlySet<number>; size: number }[] = [];
  /** The newest stored file. */
  stored = 0;
  bytesWritten = 0;
  #txid = toTxid(1);

  capture(pages: ReadonlySet<number>): void {
    this.#add(pages);
    for (;;) {
      const count = planSpoolMerge(this.files, policy);
      if (count === 0) return;
      const merged = this.files.splice(-count);
      this.#txid = (merged[0] as (typeof merged)[0]).name.minTxid;
      this.#add(new Set(merged.flatMap((file) => [...file.pages])));
    }
  }

  ship(): void {
    const file = this.files.shift();
    if (file !== undefined) this.stored = file.size;
  }

  get bytes(): number {
    return this.stored + this.files.reduce((sum, { size }) => sum + bytesOnDisk(size), 0);
  }

  #add(pages: ReadonlySet<number>): void {
    const size = fileBytes(pages);
    this.files.push({ name: { minTxid: this.#txid, maxTxid: this.#txid }, pages, size });
    this.#txid = nextTxid(this.#txid);
    this.bytesWritten += size;
  }
}

const pagesMax = 200;
/** Single pages, runs, and now and then the whole database: a VACUUM. */
const captures = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({ from: fc.nat(pagesMax - 1), count: fc.integer({ min: 1, max: 3 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ from: fc.nat(pagesMax - 1), count: fc.integer({ min: 4, max: 60 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ from: 0, count: pagesMax }) },
);
const steps = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: captures },
    { weight: 1, arbitrary: fc.constant("ship" as const) },
  ),
  { minLength: 50, maxLength: 600 },
);

function pagesOf({ from, count }: { from: number; count: number }): ReadonlySet<number> {
  return new Set(Array.from({ length: count }, (_, index) => (from + index) % pagesMax));
}

describe("merging what waits", () => {
  it("keeps the spool within its bound after every pass, whatever is captured and shipped", () => {
    fc.assert(
      fc.property(steps, (script) => {
        const spool = new ModelSpool();
        for (const step of script) {
          if (step === "ship") spool.ship();
          else spool.capture(pagesOf(step));
          expect(spool.bytes).toBeLessThanOrEqual(spoolBytesMax(pagesMax * pageBytes, policy));
          // One more for each power of five between the smallest and the largest segment.
          expect(spool.files.length).toBeLessThanOrEqual(2 + policy.filesMax * 4);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("rewrites a captured byte a few times, not once for every later capture", () => {
    fc.assert(
      fc.property(fc.array(captures, { minLength: 1_000, maxLength: 2_000 }), (script) => {
        const spool = new ModelSpool();
        for (const step of script) spool.capture(pagesOf(step));
        const captured = script.reduce((sum, step) => sum + fileBytes(pagesOf(step)), 0);
        expect(spool.bytesWritten).toBeLessThanOrEqual(captured * 10);
      }),
      { numRuns: 30 },
    );
  });

  const untried = (...sizes: number[]): WaitingFile[] =>
    [1, ...sizes].map((size, index) => ({
      name: { minTxid: toTxid(index + 1), maxTxid: toTxid(index + 1) },
      size,
    }));

  it("leaves a few small files as they are: each is a moment that can be restored", () => {
    expect(planSpoolMerge(untried(...Array<number>(8).fill(100)), policy)).toBe(0);
    expect(planSpoolMerge(untried(...Array<number>(9).fill(100)), policy)).toBe(9);
  });

  it("never takes the first that waits, which may have been tried", () => {
    expect(planSpoolMerge(untried(), policy)).toBe(0);
    expect(planSpoolMerge(untried(10 ** 6), policy)).toBe(0);
    expect(planSpoolMerge(untried(10 ** 6, 10 ** 6), policy)).toBe(2);
  });

  it("never takes the base of a timeline, which is no file of level 0", () => {
    const files = untried(...Array<number>(20).fill(100)).map((file, index) =>
      index === 3 ? { ...file, name: { minTxid: toTxid(1), maxTxid: file.name.maxTxid } } : file,
    );
    expect(planSpoolMerge(files, policy)).toBe(17);
  });

  it("takes a large file along once what came after it has a quarter of its size", () => {
    const large = 4 * 20 * 4096;
    expect(planSpoolMerge(untried(large, 19 * 4096), policy)).toBe(0);
    expect(planSpoolMerge(untried(large, 20 * 4096), policy)).toBe(2);
  });
});
