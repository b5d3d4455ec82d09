import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { Catalog, type ReplicaFile } from "../replica/catalog.ts";
import {
  type CompactionJob,
  compactionLevels,
  inputBytesMax,
  inputsMax,
  nextCompactionMs,
  planCompaction,
} from "./plan-compaction.ts";
import { defaultMaintenancePolicy, type MaintenancePolicy } from "./policy.ts";

// Goal: whatever a history looks like, the levels keep their laws, and nothing stays unmerged. Method: random histories with gaps, outages, wrong
// clocks, full copies and lost files, in small windows; after each step the plan is carried out until there is none, as if by the maintainer.

const policy: MaintenancePolicy = { ...defaultMaintenancePolicy, levelIntervalsMs: [10, 40, 200] };

type Step =
  /** A commit at the clock's time; `isLost`: no file of it was ever seen. */
  | { readonly kind: "commit"; readonly size: number; readonly isLost: boolean }
  | { readonly kind: "pass"; readonly ms: number }
  /** The clock of the commits is off by so much from now on. */
  | { readonly kind: "clock"; readonly offByMs: number }
  /** So many commits wait, and are stored at once, long after. */
  | { readonly kind: "outage"; readonly commits: number; readonly ms: number }
  /** Retention: a level loses what the next one covers. */
  | { readonly kind: "prune"; readonly level: number };

const commit = fc.record({
  kind: fc.constant("commit" as const),
  size: fc.constantFrom(100, 200, 1_000, inputBytesMax / 2, inputBytesMax, 2 * inputBytesMax),
  isLost: fc.constant(false),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: commit },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("pass" as const),
      ms: fc.oneof(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 500 })),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("outage" as const),
      commits: fc.integer({ min: 1, max: 300 }),
      ms: fc.integer({ min: 0, max: 600 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("prune" as const),
      level: fc.integer({ min: 0, max: 2 }),
    }),
  },
);
const wrongClock: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant("clock" as const),
  offByMs: fc.constantFrom(0, 0, -1_000_000, -70, -5, 5, 70, 1_000_000),
});
const lost: fc.Arbitrary<Step> = commit.map((entry) => ({ ...entry, isLost: true }));

const startMs = 1_000_000_000;

/** A timeline under maintenance. */
class Timeline {
  catalog = new Catalog();
  nowMs = startMs;
  jobs: CompactionJob[] = [];
  #offByMs = 0;
  #txid: number;

  /** @param first - 1: it begins with a full copy. */
  constructor(first: number) {
    this.#txid = first - 1;
  }

  run(next: Step): void {
    if (next.kind === "pass") this.nowMs += next.ms;
    else if (next.kind === "clock") this.#offByMs = next.offByMs;
    else if (next.kind === "prune") this.prune(next.level);
    else if (next.kind === "commit") this.commit(next.size, next.isLost);
    else {
      const times = Array.from({ length: next.commits }, (_, index) =>
        Math.floor(this.nowMs + (next.ms * index) / next.commits),
      );
      this.nowMs += next.ms;
      for (const timeMs of times) this.commit(100, false, timeMs);
    }
  }

  commit(size: number, isLost: boolean, timeMs: number = this.nowMs): void {
    this.#txid += 1;
    if (!isLost) this.add(0, this.#txid, this.#txid, timeMs + this.#offByMs, size);
  }

  add(level: number, min: number, max: number, timeMs: number, size = 100): void {
    this.catalog.add(fileOf(level, min, max, timeMs, size));
  }

  /** Carries out everything that is due. */
  settle(): void {
    for (;;) {
      const job = planCompaction(this.catalog, policy, this.nowMs);
      if (job === undefined) return;
      this.jobs.push(job);
      expectLawful(this.catalog, job);
      this.catalog.add(mergedBy(job));
    }
  }

  prune(level: number): void {
    const above = this.catalog.level(level + 1).at(-1)?.maxTxid ?? 0n;
    const own = this.catalog.level(level);
    const goes = own.filter((file) => file.minTxid > 1n && file.maxTxid <= above);
    // The newest file of level 0 never goes.
    const gone = new Set(level === 0 ? goes.filter((file) => file !== own.at(-1)) : goes);
    this.catalog = new Catalog(this.catalog.files.filter((file) => !gone.has(file)));
  }
}

function fileOf(level: number, min: number, max: number, timeMs: number, size = 100): ReplicaFile {
  return {
    timeline: "t",
    level,
    minTxid: toTxid(min),
    maxTxid: toTxid(max),
    key: `${level}/${min}-${max}`,
    size,
    createdAt: new Date(timeMs),
  };
}

function mergedBy({ level, files, minTxid, maxTxid }: CompactionJob): ReplicaFile {
  const { createdAt } = files.at(-1) as ReplicaFile;
  const size = files.reduce((bytes, file) => bytes + file.size, 0);
  return { timeline: "t", level, minTxid, maxTxid, key: `${level}/${minTxid}`, size, createdAt };
}

function expectLawful(catalog: Catalog, { level, files, minTxid, maxTxid }: CompactionJob): void {
  const sources = catalog.level(level - 1);
  const at = sources.indexOf(files[0] as ReplicaFile);
  // Neighbours of the level below, none left out, from end to end.
  expect(sources.slice(at, at + files.length)).toEqual(files);
  expect([files[0]?.minTxid, files.at(-1)?.maxTxid]).toEqual([minTxid, maxTxid]);
  expect(minTxid).toBeGreaterThan(1n);
  const ends = files.slice(0, -1).map((file) => file.maxTxid + 1n);
  expect(files.slice(1).map((file) => file.minTxid)).toEqual(ends);
  const intervalMs = policy.levelIntervalsMs[level - 1] as number;
  const windows = files.map(({ createdAt }) => Math.floor(createdAt.getTime() / intervalMs));
  expect(new Set(windows).size).toBe(1);
  expect(files.length).toBeLessThanOrEqual(inputsMax);
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  expect(files.length === 1 || bytes <= inputBytesMax).toBe(true);
  // Behind everything that this level and those above it hold, and nothing in between is left out that is there.
  const merged = catalog.files.filter((file) => file.level >= level);
  expect(merged.filter(({ maxTxid: end }) => end >= minTxid)).toEqual([]);
  const skipped = sources
    .slice(0, at)
    .filter(({ minTxid: begin }) => merged.every((file) => begin > file.maxTxid));
  expect(skipped.filter((file) => file.minTxid > 1n)).toEqual([]);
}

/** Every TXID that was ever stored is covered by a file of each level above 0, unless it is of the full copy at the beginning. */
function expectMerged(timeline: Timeline, stored: readonly ReplicaFile[]): void {
  for (const level of compactionLevels(policy)) {
    const merged = timeline.jobs.filter((job) => job.level === level);
    let index = 0;
    for (const { minTxid } of stored) {
      if (minTxid === 1n) continue;
      while (index < merged.length && (merged[index] as CompactionJob).maxTxid < minTxid)
        index += 1;
      expect(merged[index]?.minTxid ?? Number.POSITIVE_INFINITY).toBeLessThanOrEqual(minTxid);
    }
  }
}

const longMs = 10_000_000;

describe("planCompaction", () => {
  it.each([
    ["gaps, outages and pruned levels", step],
    [
      "clocks that jump",
      fc.oneof({ weight: 6, arbitrary: step }, { weight: 1, arbitrary: wrongClock }),
    ],
    [
      "files that were lost",
      fc.oneof({ weight: 6, arbitrary: step }, { weight: 1, arbitrary: lost }),
    ],
  ])("keeps the laws of the levels and leaves nothing unmerged, with %s", (_, steps) => {
    fc.assert(
      fc.property(
        fc.array(steps, { maxLength: 60 }),
        fc.constantFrom(1, 1, 7),
        fc.boolean(),
        (history, first, settlesOften) => {
          const timeline = new Timeline(first);
          timeline.commit(1_000, false);
          const stored = new Map<bigint, ReplicaFile>();
          for (const next of history) {
            timeline.run(next);
            for (const file of timeline.catalog.level(0)) stored.set(file.minTxid, file);
            if (settlesOften) timeline.settle();
          }
          timeline.nowMs += longMs;
          timeline.settle();
          expect(planCompaction(timeline.catalog, policy, timeline.nowMs)).toBeUndefined();
          expect(nextCompactionMs(timeline.catalog, policy, timeline.nowMs)).toBe(Infinity);
          expectMerged(timeline, [...stored.values()]);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("makes one file of each window that has commits, unless its inputs are too many or too large", () => {
    const small: fc.Arbitrary<Step> = fc.oneof(
      fc.constant<Step>({ kind: "commit", size: 100, isLost: false }),
      fc.integer({ min: 0, max: 15 }).map((ms): Step => ({ kind: "pass", ms })),
    );
    fc.assert(
      fc.property(fc.array(small, { maxLength: 200 }), (history) => {
        const timeline = new Timeline(1);
        const windows: Set<number>[] = policy.levelIntervalsMs.map(() => new Set());
        timeline.commit(1_000, false);
        for (const next of history) {
          timeline.run(next);
          if (next.kind === "commit") {
            for (const [index, intervalMs] of policy.levelIntervalsMs.entries()) {
              windows[index]?.add(Math.floor(timeline.nowMs / intervalMs));
            }
          }
          timeline.settle();
        }
        timeline.nowMs += longMs;
        timeline.settle();
        for (const level of compactionLevels(policy)) {
          expect(timeline.catalog.level(level)).toHaveLength(
            (windows[level - 1] as Set<number>).size,
          );
        }
      }),
      { numRuns: 300 },
    );
  });

  it("has work at the time that nextCompactionMs says, and none before if nothing comes", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(step, wrongClock), { maxLength: 60 }), (history) => {
        const timeline = new Timeline(1);
        for (const next of history) timeline.run(next);
        for (let rounds = 0; ; rounds += 1) {
          timeline.settle();
          const nextMs = nextCompactionMs(timeline.catalog, policy, timeline.nowMs);
          if (nextMs === Number.POSITIVE_INFINITY) break;
          expect(nextMs).toBeGreaterThan(timeline.nowMs);
          expect(planCompaction(timeline.catalog, policy, nextMs - 1)).toBeUndefined();
          expect(planCompaction(timeline.catalog, policy, nextMs)).toBeDefined();
          expect(rounds).toBeLessThan(1_000);
          timeline.nowMs = nextMs;
        }
      }),
      { numRuns: 300 },
    );
  });
});
