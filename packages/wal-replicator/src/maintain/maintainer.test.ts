import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CountingStore,
  DirectoryStore,
  type FaultPlan,
  FaultyStore,
  MemoryStore,
  type ObjectStore,
  ObjectStoreError,
} from "@vaultwarden-stream/object-store";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ReplicationError } from "../errors.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { exclusive, keysOf } from "../replica/epoch-testing.ts";
import { listTimeline } from "../replica/replica.ts";
import type { MaintenanceEvent } from "./events-of-maintenance.ts";
import { TestHistory, testEpoch, testTimeline } from "./history-testing.ts";
import { Maintainer, type MaintainerDeps } from "./maintainer.ts";
import { planCompaction } from "./plan-compaction.ts";
import { defaultMaintenancePolicy as policy } from "./policy.ts";

const startMs = Date.UTC(2026, 10, 1, 12);
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

let directory: string;
let scratchDirectory: string;
let histories: TestHistory[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "maintainer-"));
  scratchDirectory = join(directory, "scratch");
  histories = [];
});
afterEach(() => {
  for (const history of histories) history.remove();
  rmSync(directory, { recursive: true, force: true });
});

/** A timeline in a store that may fail, its maintainer, and the time. */
class World {
  readonly events: MaintenanceEvent[] = [];
  readonly history: TestHistory;
  readonly closing = new AbortController();
  nowMs = startMs;
  retained = 0;
  retain: MaintainerDeps["retain"] = async () => {};
  beforeWrite: MaintainerDeps["beforeWrite"] = async () => ({ record: testEpoch, mode: exclusive });
  faults: FaultPlan = () => undefined;
  readonly counting: CountingStore;
  readonly deps: MaintainerDeps;
  maintainer: Maintainer;

  constructor(store: ObjectStore = new MemoryStore()) {
    this.history = new TestHistory(store);
    histories.push(this.history);
    this.counting = new CountingStore(store);
    const { catalog, root } = this.history;
    this.deps = {
      root: { ...root, store: new FaultyStore(this.counting, (call) => this.faults(call)) },
      catalog,
      policy,
      beforeWrite: (signal) => this.beforeWrite(signal),
      localCopy: () => undefined,
      makeSnapshot: (scratch) =>
        this.history.writeSnapshot(join(scratch, "snapshot.tmp"), this.nowMs),
      scratchDirectory,
      retain: async (signal) => {
        this.retained += 1;
        await this.retain(signal);
      },
      now: () => this.nowMs,
      at: () => {},
      emit: (event) => this.events.push(event),
      isFatal: (error) => error instanceof ReplicationError && error.code === "FOREIGN_WRITE",
    };
    this.maintainer = new Maintainer(this.deps);
  }

  /** Commits that are `everyMs` apart, the first one now. */
  async commit(count: number, everyMs = 1_000): Promise<void> {
    for (let index = 0; index < count; index += 1) {
      await this.history.commit(this.nowMs);
      this.nowMs += everyMs;
    }
  }

  step(): Promise<number> {
    return this.maintainer.step(this.closing.signal);
  }

  /** Steps when the maintainer says so. */
  async runUntil(ms: number): Promise<void> {
    for (;;) {
      const nextMs = await this.step();
      expect(nextMs).toBeGreaterThan(this.nowMs);
      if (nextMs > ms) break;
      this.nowMs = nextMs;
    }
    this.nowMs = ms;
  }

  told(type: MaintenanceEvent["type"]): MaintenanceEvent[] {
    return this.events.filter((event) => event.type === type);
  }

  levels(): number[] {
    return [0, 1, 2, 3, 9].map((level) => this.history.catalog.level(level).length);
  }
}

const unreachable = { kind: "error-before", code: "UNREACHABLE" } as const;

describe("Maintainer", () => {
  it("merges level by level as time goes, and tells each file", async () => {
    const world = new World();
    await world.commit(65, 10_000); // 650 s
    await world.runUntil(startMs + 3 * hourMs);
    expect(world.levels()).toEqual([65, 22, 3, 1, 0]);
    expect(world.told("compacted")).toHaveLength(26);
    expect(world.events.at(-1)).toMatchObject({
      type: "compacted",
      level: 3,
      minTxid: 2n,
      maxTxid: 65n,
      files: 3,
    });
    expect(await listTimeline(world.history.root, testTimeline)).toEqual(world.history.catalog);
    await world.history.expectRestores();
  });

  it("makes no request when there is nothing to do, and asks for a look every five minutes", async () => {
    const world = new World();
    await world.commit(3);
    await world.runUntil(startMs + 2 * dayMs);
    expect(world.levels()).toEqual([3, 1, 1, 1, 1]);
    const before = { ...world.counting.counts };
    const { retained } = world;
    expect(await world.step()).toBeLessThanOrEqual(world.nowMs + 5 * minuteMs);
    await world.runUntil(world.nowMs + dayMs);
    expect(world.counting.counts).toEqual(before);
    expect(world.retained - retained).toBe(288);
  });

  it("spends a PUT on each merged file and a GET on each file above level 0, with local copies", async () => {
    const world = new World();
    const { history } = world;
    const localCopy: MaintainerDeps["localCopy"] = ({ level, maxTxid }) =>
      level === 0 ? history.local.get(maxTxid) : undefined;
    world.maintainer = new Maintainer({ ...world.deps, localCopy });
    await history.commit(world.nowMs);
    const before = { ...world.counting.counts };
    for (let second = 1; second <= 3_600; second += 1) {
      world.nowMs += 1_000;
      if (second % 5 === 0) await history.commit(world.nowMs);
      await world.step();
    }
    await world.runUntil(world.nowMs + 3 * hourMs);
    const { putIfAbsent, get, head, list, put } = world.counting.counts;
    // The full hour lies in 121 windows of level 1: the last commit is exactly at the end.
    expect([putIfAbsent - before.putIfAbsent, get - before.get]).toEqual([121 + 13 + 2, 121 + 13]);
    expect([head, list, put]).toEqual([before.head, before.list, before.put]);
  });

  it("makes a snapshot when it is due, stores it at level 9, and has retention follow at once", async () => {
    const world = new World();
    await world.commit(20, hourMs);
    await world.runUntil(startMs + dayMs - 1);
    expect(world.levels()[4]).toBe(0);
    await world.runUntil(startMs + dayMs + 5 * minuteMs);
    const [event] = world.told("snapshot-stored");
    expect(event).toMatchObject({ txid: 20n });
    const [stored] = world.history.catalog.level(9);
    expect(stored).toMatchObject({ minTxid: 1n, maxTxid: 20n });
    expect(await readdir(scratchDirectory)).toEqual([]);
    await world.history.expectRestores();
    // Nothing changed since: no further one.
    await world.runUntil(startMs + 30 * dayMs);
    expect(world.levels()[4]).toBe(1);
  });

  it("runs retention behind a snapshot although it was just looked at", async () => {
    const world = new World();
    await world.commit(2);
    await world.step();
    const { retained } = world;
    await world.step();
    expect(world.retained).toBe(retained);
    const snapshot = world.maintainer.requestSnapshot();
    await world.step();
    expect(world.retained).toBe(retained + 1);
    expect(await snapshot).toMatchObject({ level: 9, maxTxid: 2n });
  });

  it("makes a snapshot that was asked for once for all who asked, and not a second one of the same state", async () => {
    const world = new World();
    await world.commit(2);
    const both = [world.maintainer.requestSnapshot(), world.maintainer.requestSnapshot()];
    await world.step();
    expect(new Set(await Promise.all(both)).size).toBe(1);
    const again = world.maintainer.requestSnapshot();
    await world.step();
    expect(await again).toEqual(await both[0]);
    expect(world.told("snapshot-stored")).toHaveLength(1);
  });

  it("tells whoever asked for a snapshot that it failed, also because the stream ends", async () => {
    const world = new World();
    await world.commit(2);
    world.faults = () => unreachable;
    const failing = world.maintainer.requestSnapshot();
    failing.catch(() => {});
    await world.step();
    await expect(failing).rejects.toMatchObject({ code: "UNREACHABLE" });
    const ending = world.maintainer.requestSnapshot();
    ending.catch(() => {});
    world.closing.abort(new Error("stop"));
    await expect(world.step()).rejects.toThrow("stop");
    await expect(ending).rejects.toThrow("stop");
  });

  it("tries what fails again with growing pauses, tells it once for each cause, and tells that it is over", async () => {
    const world = new World();
    await world.commit(3);
    world.nowMs += hourMs;
    let code: "UNREACHABLE" | "THROTTLED" = "UNREACHABLE";
    let tried = 0;
    world.faults = ({ operation }) => {
      if (operation !== "putIfAbsent") return undefined;
      tried += 1;
      return { kind: "error-before", code };
    };
    const sinceMs = world.nowMs;
    const triedMs: number[] = [];
    while (triedMs.length < 12) {
      const before = tried;
      const nextMs = await world.step();
      if (tried > before) triedMs.push(world.nowMs);
      expect(tried).toBe(triedMs.length);
      world.nowMs = nextMs;
      if (tried === 6) code = "THROTTLED";
    }
    const pauses = triedMs.slice(1).map((ms, index) => ms - (triedMs[index] as number));
    expect(pauses.slice(0, 4)).toEqual([1_000, 2_000, 4_000, 8_000]);
    expect(pauses.slice(-2)).toEqual([5 * minuteMs, 5 * minuteMs]);
    world.faults = () => undefined;
    world.nowMs = (triedMs.at(-1) as number) + 5 * minuteMs;
    await world.step();
    const failing = { type: "maintenance-failing", work: "compaction", level: 1, sinceMs };
    expect(world.events.slice(0, 4)).toMatchObject([
      { ...failing, code: "UNREACHABLE" },
      { ...failing, code: "THROTTLED" },
      { type: "compacted", level: 1 },
      {
        type: "maintenance-recovered",
        work: "compaction",
        level: 1,
        failedForMs: world.nowMs - sinceMs,
      },
    ]);
    expect(world.told("maintenance-failing")).toHaveLength(2);
  });

  it("a level that cannot be made stops neither the others, nor snapshots, nor retention", async () => {
    const world = new World();
    await world.commit(30, 20_000); // 600 s
    await world.runUntil(world.nowMs);
    const [, ones, twos] = world.levels();
    expect(world.levels().slice(1, 4)).toEqual([19, 1, 0]);
    // Level 1 is refused from now on, and level 2 has work left.
    world.faults = ({ key }) => (key.includes("/0001/") ? unreachable : undefined);
    await world.commit(30, 20_000);
    world.nowMs += 8 * dayMs;
    const { retained } = world;
    await world.step();
    expect(world.levels()[1]).toBe(ones);
    expect(world.levels()[2]).toBeGreaterThanOrEqual(twos as number);
    expect(world.told("snapshot-stored")).toHaveLength(1);
    expect(world.retained).toBe(retained + 1);
    expect(world.told("maintenance-failing")).toMatchObject([{ work: "compaction", level: 1 }]);
    world.faults = () => undefined;
    await world.runUntil(world.nowMs + dayMs);
    expect(planCompaction(world.history.catalog, policy, world.nowMs)).toBeUndefined();
    await world.history.expectRestores();
  });

  it("a retention or snapshot that fails stops no compaction, and is tried again", async () => {
    const world = new World();
    await world.commit(3);
    world.nowMs += 8 * dayMs;
    world.retain = async () => {
      throw new ObjectStoreError("FORBIDDEN", "no", { operation: "delete", key: "k", hint: "h" });
    };
    world.faults = ({ key }) => (key.includes("/0009/") ? unreachable : undefined);
    const nextMs = await world.step();
    expect(nextMs).toBe(world.nowMs + 1_000);
    expect(world.levels()).toEqual([3, 1, 1, 1, 0]);
    expect(world.told("maintenance-failing")).toMatchObject([
      { work: "snapshot", level: null, code: "UNREACHABLE" },
      { work: "retention", level: null, code: "FORBIDDEN", hint: "h" },
    ]);
    world.retain = async () => {};
    world.faults = () => undefined;
    world.nowMs = nextMs;
    await world.step();
    expect(world.levels()).toEqual([3, 1, 1, 1, 1]);
    expect(world.told("maintenance-recovered")).toMatchObject([
      { work: "snapshot", failedForMs: 1_000 },
      { work: "retention", failedForMs: 1_000 },
    ]);
  });

  it("finishes whatever request fails, with or without effect: the next try does the rest", async () => {
    /** @returns how many requests there were. */
    async function life(failAt: number, kind: "error-before" | "error-after"): Promise<number> {
      const world = new World();
      await world.commit(9, 100_000);
      world.nowMs += 8 * dayMs;
      let index = 0;
      world.faults = () => {
        index += 1;
        return index === failAt ? { kind, code: "UNREACHABLE" } : undefined;
      };
      await world.step();
      expect(world.told("maintenance-failing")).toHaveLength(failAt > index ? 0 : 1);
      await world.runUntil(world.nowMs + minuteMs);
      expect(world.levels()).toEqual([9, 8, 3, 1, 1]);
      expect(await listTimeline(world.history.root, testTimeline)).toEqual(world.history.catalog);
      if (failAt % 10 === 0) await world.history.expectRestores();
      return index;
    }
    const count = await life(Number.POSITIVE_INFINITY, "error-before");
    expect(count).toBeGreaterThan(30);
    for (let failAt = 1; failAt <= count; failAt += 1) {
      await life(failAt, failAt % 2 === 0 ? "error-after" : "error-before");
    }
  });

  it("repeats a merge whose answer was lost just as it was, also when its window has one more file by then", async () => {
    const world = new World();
    await world.commit(4);
    world.nowMs = startMs + 2 * minuteMs;
    world.faults = ({ operation }) =>
      operation === "putIfAbsent" ? { kind: "error-after", code: "UNREACHABLE" } : undefined;
    await world.step();
    expect(world.told("maintenance-failing")).toHaveLength(1);
    // Its upload was confirmed late: it is of the same window.
    await world.history.commit(startMs + 20_000);
    world.faults = () => undefined;
    await world.runUntil(startMs + 10 * minuteMs);
    const { root, catalog } = world.history;
    const level = (files: readonly ReplicaFile[]) =>
      files.filter((file) => file.level === 1).map(({ minTxid, maxTxid }) => [minTxid, maxTxid]);
    const merged = [
      [2n, 4n],
      [5n, 5n],
    ];
    expect(level(catalog.files)).toEqual(merged);
    expect(level((await listTimeline(root, testTimeline)).files)).toEqual(merged);
  });

  it("throws what is fatal: another's file under our key, and an epoch that was lost", async () => {
    const world = new World();
    await world.commit(3);
    world.nowMs += hourMs;
    const job = planCompaction(world.history.catalog, policy, world.nowMs);
    expect(job).toMatchObject({ level: 1, minTxid: 2n, maxTxid: 3n });
    const key = `${testTimeline}/0001/0000000000000002-0000000000000003.ltx`;
    await world.history.root.store.put(key, Buffer.from("theirs"));
    await expect(world.step()).rejects.toMatchObject({ code: "FOREIGN_WRITE" });
    expect(world.events).toEqual([]);
    const before = await keysOf(world.history.root.store);
    world.beforeWrite = async () => {
      throw new ReplicationError("FOREIGN_WRITE", "lost", "hint");
    };
    await expect(world.step()).rejects.toThrow("lost");
    expect(await keysOf(world.history.root.store)).toEqual(before);
  });

  it("removes what a killed life has left in its directory, and nothing else", async () => {
    const world = new World();
    await world.commit(3);
    world.nowMs += hourMs;
    await mkdir(scratchDirectory);
    await writeFile(join(scratchDirectory, "merged.tmp"), "left");
    await writeFile(join(scratchDirectory, "source-7.tmp"), "left");
    await writeFile(join(scratchDirectory, "other.ltx"), "stays");
    await world.step();
    expect(await readdir(scratchDirectory)).toEqual(["other.ltx"]);
    expect(await readFile(join(scratchDirectory, "other.ltx"), "utf8")).toBe("stays");
  });

  it("does not pass over what has come due while it worked", async () => {
    const world = new World();
    await world.commit(3);
    world.retain = async () => {
      world.nowMs = startMs + 61_000;
    };
    expect(await world.step()).toBe(startMs + minuteMs);
    await world.step();
    expect(world.levels()).toEqual([3, 1, 0, 0, 0]);
  });

  it("does not try what is not there to be done any more", async () => {
    const world = new World();
    await world.commit(3);
    world.nowMs += hourMs;
    world.faults = () => unreachable;
    const nextMs = await world.step();
    // A repair: the level is there.
    const [, second, third] = world.history.catalog.level(0);
    const merged = { ...(third as ReplicaFile), minTxid: (second as ReplicaFile).minTxid };
    for (const level of [1, 2, 3]) world.history.catalog.add({ ...merged, level });
    world.nowMs = nextMs;
    expect(await world.step()).toBeGreaterThan(nextMs);
    expect(world.told("maintenance-recovered")).toMatchObject([{ work: "compaction", level: 1 }]);
  });

  it("goes on after the clock was set back by a day", async () => {
    const world = new World();
    await world.commit(3);
    world.nowMs += 2 * dayMs;
    world.faults = () => unreachable;
    await world.step();
    const { retained } = world;
    world.faults = () => undefined;
    world.nowMs -= dayMs;
    await world.step();
    expect(world.retained).toBe(retained + 1);
    expect(world.told("maintenance-recovered")).toHaveLength(2);
  });

  it("is aborted in the middle of a job with the signal's reason, and leaves no temporary", async () => {
    const world = new World();
    await world.commit(3);
    world.nowMs += hourMs;
    const stop = new Error("stop");
    world.beforeWrite = async (signal) => {
      world.closing.abort(stop);
      signal.throwIfAborted();
      throw new Error("not aborted");
    };
    await expect(world.step()).rejects.toBe(stop);
    expect(await readdir(scratchDirectory)).toEqual([]);
    expect(world.events).toEqual([]);
  });

  it("keeps a directory as it keeps any other store", async () => {
    const world = new World(new DirectoryStore(join(directory, "store")));
    await world.commit(20, 40_000);
    await world.runUntil(startMs + 2 * dayMs);
    expect(world.levels()).toEqual([20, 19, 3, 1, 1]);
    expect(await listTimeline(world.history.root, testTimeline)).toEqual(world.history.catalog);
    await world.history.expectRestores();
  });
});
