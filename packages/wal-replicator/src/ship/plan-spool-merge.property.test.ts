import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextTxid, toTxid } from "../ltx/txid.ts";
import { noSpoolCopies, planSpoolCopies, type SpoolCopyPolicy } from "./plan-spool-copies.ts";
import {
  bytesOnDisk,
  planSpoolMerge,
  type SpoolMergePolicy,
  type WaitingFile,
} from "./plan-spool-merge.ts";
import { spoolBytesMax } from "./spool-bound.ts";

const copyPolicy: SpoolCopyPolicy = { filesMax: 6, bytesMax: 40_960, fileBytesMax: 20_480 };
const policy: SpoolMergePolicy = { filesMax: 8, bytesMax: 64 * 1024 };
const pageBytes = 4096;
const fileBytes = (pages: ReadonlySet<number>): number => pages.size * pageBytes;

/** A spool of files that are nothing but sets of pages: as the engine fills it, merges it, and ships from it. */
class ModelSpool {
  files: { name: WaitingFile["name"]; pages: ReadonlySet<number>; size: number }[] = [];
  /** The newest stored file, and the copies before it. */
  stored: { readonly size: number } | undefined;
  copies: { readonly size: number }[] = [];
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
    if (file === undefined) return;
    if (this.stored !== undefined) this.copies.push(this.stored);
    this.copies = planSpoolCopies(this.copies, copyPolicy);
    this.stored = file;
  }

  get bytes(): number {
    const files = [
      ...this.copies,
      ...(this.stored === undefined ? [] : [this.stored]),
      ...this.files,
    ];
    return files.reduce((sum, { size }) => sum + bytesOnDisk(size), 0);
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
          const bound = spoolBytesMax(pagesMax * pageBytes, policy, copyPolicy);
          expect(spool.bytes).toBeLessThanOrEqual(bound);
          expect(spool.copies.length).toBeLessThanOrEqual(copyPolicy.filesMax);
          // One more for each power of five between the smallest and the largest segment.
          expect(spool.files.length).toBeLessThanOrEqual(2 + policy.filesMax * 4);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("keeps it also where the copies of what is stored are most of the spool", () => {
    const spool = new ModelSpool();
    for (let page = 0; page < 20; page++) {
      spool.capture(new Set([page]));
      spool.ship();
    }
    expect(spool.copies).toHaveLength(copyPolicy.filesMax);
    const merges = { filesMax: 1, bytesMax: 0 };
    expect(spool.bytes).toBeGreaterThan(spoolBytesMax(pageBytes, merges, noSpoolCopies));
    expect(spool.bytes).toBeLessThanOrEqual(spoolBytesMax(pageBytes, merges, copyPolicy));
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
