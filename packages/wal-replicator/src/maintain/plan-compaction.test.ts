import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { Catalog, type ReplicaFile } from "../replica/catalog.ts";
import { inputBytesMax, inputsMax, nextCompactionMs, planCompaction } from "./plan-compaction.ts";
import { planRetention } from "./plan-retention.ts";
import { defaultMaintenancePolicy as policy } from "./policy.ts";

const startMs = Date.UTC(2026, 10, 1, 12);
const farMs = startMs + 1e12;

/** `atS`: seconds behind the start, which is a full hour. */
function file(level: number, min: number, max: number, atS: number, size = 100): ReplicaFile {
  return {
    timeline: "t",
    level,
    minTxid: toTxid(min),
    maxTxid: toTxid(max),
    key: `${level}/${min}-${max}`,
    size,
    createdAt: new Date(startMs + atS * 1_000),
  };
}

/** Level-0 files from `first` on, a second apart. */
function commits(first: number, count: number, atS = 0, size = 100): ReplicaFile[] {
  return Array.from({ length: count }, (_, index) =>
    file(0, first + index, first + index, atS + index, size),
  );
}

function plan(files: readonly ReplicaFile[], nowS: number): string | undefined {
  const job = planCompaction(new Catalog(files), policy, startMs + nowS * 1_000);
  return job && `${job.level}/${job.minTxid}-${job.maxTxid} of ${job.files.length}`;
}

describe("planCompaction", () => {
  it("has nothing to do for an empty timeline, and for one that only has its full copy", () => {
    expect(plan([], 1e9)).toBeUndefined();
    expect(plan([file(0, 1, 1, 0)], 1e9)).toBeUndefined();
    expect(nextCompactionMs(new Catalog([file(0, 1, 1, 0)]), policy, startMs)).toBe(Infinity);
  });

  it("merges a window once a file of the next one is there, however late that was stored", () => {
    const window = commits(2, 3, 10);
    expect(plan([file(0, 1, 1, 0), ...window], 31)).toBeUndefined();
    expect(plan([file(0, 1, 1, 0), ...window, file(0, 5, 5, 30)], 31)).toBe("1/2-4 of 3");
  });

  it("merges a window that nothing follows an interval after its end", () => {
    const files = [file(0, 1, 1, 0), ...commits(2, 3, 10)];
    expect(plan(files, 59.999)).toBeUndefined();
    expect(plan(files, 60)).toBe("1/2-4 of 3");
    expect(nextCompactionMs(new Catalog(files), policy, startMs)).toBe(startMs + 60_000);
  });

  it("never merges a full copy that a timeline or a stock replica begins with", () => {
    expect(plan([file(0, 1, 1, 0), file(0, 2, 2, 1)], 1e9)).toBe("1/2-2 of 1");
    expect(plan([file(1, 1, 4, 0), file(0, 5, 5, 400)], 1e9)).toBe("1/5-5 of 1");
    expect(plan([file(1, 1, 4, 0), file(1, 5, 5, 400)], 1e9)).toBe("2/5-5 of 1");
  });

  it("begins behind the branch point, and never with a base", () => {
    expect(plan([file(9, 1, 8, 2), ...commits(7, 3)], 1e9)).toBe("1/7-9 of 3");
  });

  it("goes on behind what higher levels hold, when retention has left them alone", () => {
    const files = [file(3, 2, 90, -9_000), file(0, 90, 90, -9_000)];
    expect(plan(files, 1e9)).toBeUndefined();
    expect(plan([...files, file(0, 91, 91, 0)], 1e9)).toBe("1/91-91 of 1");
    // A level that a policy of today does not have.
    expect(plan([file(6, 2, 90, -9_000), file(0, 90, 90, -9_000)], 1e9)).toBeUndefined();
  });

  it("waits for what lower levels hold of the window, and for nothing else", () => {
    const merged = [file(1, 2, 5, 20), file(1, 6, 9, 200)];
    expect(plan([...merged, ...commits(10, 1, 290)], 301)).toBeUndefined();
    expect(plan([...merged, ...commits(10, 1, 300)], 301)).toBe("2/2-9 of 2");
    // Level 2 of that window is merged last, lower levels first.
    expect(plan([...merged, ...commits(10, 1, 290)], 1_000)).toBe("1/10-10 of 1");
  });

  it("divides a window with more files than may be open at once, and does not wait with that many", () => {
    expect(
      plan(
        commits(2, inputsMax - 1, 0).map((f) => ({ ...f, createdAt: new Date(startMs) })),
        1,
      ),
    ).toBe(undefined);
    const crowd = commits(2, inputsMax).map((f) => ({ ...f, createdAt: new Date(startMs) }));
    expect(plan(crowd, 1)).toBe(`1/2-${inputsMax + 1} of ${inputsMax}`);
  });

  it("divides a window that is too large to lie on the disk at once, and takes a larger file alone", () => {
    const half = inputBytesMax / 2;
    expect(plan(commits(2, 3, 0, half), 5)).toBe("1/2-3 of 2");
    expect(plan(commits(2, 2, 0, 3 * half), 5)).toBe("1/2-2 of 1");
  });

  it("goes on behind a lost file, with a file that ends before it", () => {
    const files = [...commits(2, 2), ...commits(5, 2, 3)];
    expect(plan(files, 5)).toBe("1/2-3 of 2");
    expect(plan([...files, file(1, 2, 3, 1)], 1e9)).toBe("1/5-6 of 2");
  });

  it("goes on when a clock was wrong: files of the future wait no longer than until the clock was right, or there are many", () => {
    const future = file(0, 2, 2, 1e7);
    expect(plan([future, file(0, 3, 3, 10)], 11)).toBe("1/2-2 of 1");
    const all = commits(2, inputsMax).map((f) => ({ ...f, createdAt: new Date(farMs) }));
    expect(plan(all, 1)).toBe(`1/2-${inputsMax + 1} of ${inputsMax}`);
    expect(plan([file(0, 2, 2, 500), file(0, 3, 3, 10)], 501)).toBe("1/2-2 of 1");
  });

  it("looks at no other levels than it is told", () => {
    const files = [file(1, 2, 5, 20), ...commits(6, 3, 900)];
    const catalog = new Catalog(files);
    expect(planCompaction(catalog, policy, farMs, [])).toBeUndefined();
    expect(planCompaction(catalog, policy, farMs, [2, 3])).toMatchObject({ level: 2, maxTxid: 5n });
    expect(planCompaction(catalog, policy, farMs)).toMatchObject({ level: 1, maxTxid: 8n });
  });

  it("makes no part of a window because the level below fails, and names no time that has passed", () => {
    const catalog = new Catalog([file(1, 2, 5, 20), ...commits(6, 1, 200)]);
    expect(planCompaction(catalog, policy, farMs, [2, 3])).toBeUndefined();
    expect(planCompaction(catalog, policy, farMs)).toMatchObject({ level: 1, maxTxid: 6n });
    expect(nextCompactionMs(catalog, policy, farMs)).toBe(Infinity);
  });

  it("has no work, and retention none, on a timeline where nothing happened for longer than the retention", () => {
    const catalog = new Catalog([file(0, 1, 1, 0), ...commits(2, 400, 1)]);
    const settle = (): void => {
      for (;;) {
        const job = planCompaction(catalog, policy, farMs);
        if (job === undefined) return;
        const { level, minTxid, maxTxid } = job;
        const { createdAt } = job.files.at(-1) as ReplicaFile;
        const key = `${level}/${minTxid}-${maxTxid}`;
        catalog.add({ timeline: "t", level, minTxid, maxTxid, key, size: 100, createdAt });
      }
    };
    const retain = (): number => {
      const own = { timeline: "t", parent: null, files: catalog.files, lastStoredMs: startMs };
      const facts = { head: "t", timelines: new Map([["t", own]]), protected: [] };
      const planned = planRetention(facts, policy, farMs);
      if (planned.outcome !== "plan") expect.fail("refused");
      for (const { file: gone } of planned.deletions) catalog.remove(gone);
      return planned.deletions.length;
    };
    settle();
    catalog.add(file(9, 1, 401, 401));
    expect(retain()).toBeGreaterThan(400);
    expect(planCompaction(catalog, policy, farMs)).toBeUndefined();
    expect(nextCompactionMs(catalog, policy, farMs)).toBe(Infinity);
    expect(retain()).toBe(0);
    // What comes then goes on behind it, on each level.
    catalog.add(file(0, 402, 402, 1e8));
    settle();
    const last = [1, 2, 3].map((level) => catalog.level(level).at(-1)?.key);
    expect(last).toEqual(["1/402-402", "2/402-402", "3/402-402"]);
  });
});
