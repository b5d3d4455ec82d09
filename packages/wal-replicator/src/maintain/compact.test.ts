import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CountingStore,
  DirectoryStore,
  type FaultPlan,
  FaultyStore,
  MemoryStore,
  type ObjectStore,
} from "@vaultwarden-stream/object-store";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Catalog } from "../replica/catalog.ts";
import { detectedOnly, exclusive, keysOf } from "../replica/epoch-testing.ts";
import { type CompactDeps, compact } from "./compact.ts";
import { TestHistory, testEpoch } from "./history-testing.ts";
import { type CompactionJob, planCompaction } from "./plan-compaction.ts";
import { defaultMaintenancePolicy as policy } from "./policy.ts";

const startMs = Date.UTC(2026, 10, 1, 12);
const farMs = startMs + 1e12;
const { signal } = new AbortController();

let directory: string;
let scratchDirectory: string;
let histories: TestHistory[];
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "compact-"));
  scratchDirectory = join(directory, "scratch");
  await mkdir(scratchDirectory);
  histories = [];
});
afterEach(() => {
  for (const history of histories) history.remove();
  rmSync(directory, { recursive: true, force: true });
});

/** Commits `everyMs` apart. */
async function historyOf(
  store: ObjectStore,
  count: number,
  everyMs = 1_000,
  seed = 1,
): Promise<TestHistory> {
  const history = new TestHistory(store, seed);
  histories.push(history);
  for (let index = 0; index < count; index += 1) {
    await history.commit(startMs + index * everyMs, index % 20 === 0);
  }
  return history;
}

function depsOf(history: TestHistory, rest: Partial<CompactDeps> = {}): CompactDeps {
  return {
    root: history.root,
    beforeWrite: async () => ({ record: testEpoch, mode: exclusive }),
    localCopy: () => undefined,
    scratchDirectory,
    at: () => {},
    ...rest,
  };
}

function jobOf({ catalog }: TestHistory): CompactionJob {
  return planCompaction(catalog, policy, farMs) as CompactionJob;
}

async function settle(history: TestHistory, deps: CompactDeps): Promise<number> {
  for (let count = 0; ; count += 1) {
    const job = planCompaction(history.catalog, policy, farMs);
    if (job === undefined) return count;
    history.catalog.add(await compact(deps, job, signal));
  }
}

/** Takes away everything of a level that the next one covers. */
async function dropCovered(history: TestHistory, catalog: Catalog, level: number): Promise<void> {
  const reached = catalog.level(level + 1).at(-1)?.maxTxid ?? 0n;
  for (const { key, minTxid, maxTxid } of catalog.level(level)) {
    if (minTxid > 1n && maxTxid <= reached) await history.root.store.delete(key);
  }
}

async function bytesOf(store: ObjectStore, key: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await store.get(key)).body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe("compact", () => {
  it.each<[string, () => ObjectStore, number]>([
    ["a store in memory", () => new MemoryStore(), 1],
    ["another one", () => new MemoryStore(), 2],
    ["a directory", () => new DirectoryStore(join(directory, "store")), 3],
  ])("makes files of the same effect in %s: every end that is left restores", async (...given) => {
    const [, makeStore, seed] = given;
    const history = await historyOf(makeStore(), 60, 11_000, seed);
    const { catalog } = history;
    const before = catalog.files;
    expect(await settle(history, depsOf(history))).toBe(26);
    expect(catalog.level(0)).toEqual(before);
    expect([1, 2, 3].map((level) => catalog.level(level).length)).toEqual([22, 3, 1]);
    expect(await history.expectRestores()).toBe(60);
    for (const [level, left] of [23, 4, 2].entries()) {
      await dropCovered(history, catalog, level);
      expect(await history.expectRestores()).toBe(left);
    }
    expect(await readdir(scratchDirectory)).toEqual([]);
  });

  it("keeps the time and the rolling checksum of the last source, and none of its WAL", async () => {
    const history = await historyOf(new MemoryStore(), 5);
    const stored = await compact(depsOf(history), jobOf(history), signal);
    expect(stored).toMatchObject({ level: 1, minTxid: 2n, maxTxid: 5n });
    expect(stored.createdAt).toEqual(new Date(startMs + 4_000));
    const last = history.local.get(5n);
    expect(await history.root.store.head(stored.key)).toMatchObject({
      size: stored.size,
      timestamp: stored.createdAt,
      metadata: { "rolling-checksum": last?.name.rollingChecksum, "epoch-nonce": testEpoch.nonce },
    });
  });

  it("asks the store once for each source that has no local copy, and once to write", async () => {
    const counting = new CountingStore(new MemoryStore());
    const history = await historyOf(counting, 9);
    const job = jobOf(history);
    const localCopy: CompactDeps["localCopy"] = ({ maxTxid }) =>
      maxTxid > 4n ? history.local.get(maxTxid) : undefined;
    const before = { ...counting.counts };
    await compact(depsOf(history, { localCopy }), job, signal);
    const { get, putIfAbsent, head, list } = counting.counts;
    expect([get - before.get, putIfAbsent - before.putIfAbsent]).toEqual([3, 1]);
    expect([head, list]).toEqual([before.head, before.list]);
    await history.expectRestores();
  });

  it.each<[string, (path: string) => Promise<void>]>([
    ["has vanished", (path) => rm(path)],
    ["is cut", (path) => truncate(path, 300)],
    ["is something else", (path) => writeFile(path, Buffer.alloc(500))],
  ])("takes all from the store if a local copy %s", async (_, harm) => {
    const history = await historyOf(new MemoryStore(), 6);
    const copy = history.local.get(4n);
    await harm(copy?.path as string);
    const localCopy: CompactDeps["localCopy"] = ({ maxTxid }) =>
      maxTxid > 2n ? history.local.get(maxTxid) : undefined;
    history.catalog.add(await compact(depsOf(history, { localCopy }), jobOf(history), signal));
    await dropCovered(history, history.catalog, 0);
    await history.expectRestores();
  });

  it("is not misled by what an earlier attempt has left", async () => {
    const history = await historyOf(new MemoryStore(), 6);
    for (const name of ["merged.tmp", "source-0.tmp"]) {
      await writeFile(join(scratchDirectory, name), Buffer.alloc(10_000, 7));
    }
    history.catalog.add(await compact(depsOf(history), jobOf(history), signal));
    await dropCovered(history, history.catalog, 0);
    expect(await history.expectRestores()).toBe(2);
  });

  it("stores nothing of a source that is damaged in the store", async () => {
    const history = await historyOf(new MemoryStore(), 6);
    const faults: FaultPlan = ({ operation, key }) =>
      operation === "get" && key.includes("4-0000")
        ? { kind: "garble-body", atByte: 250 }
        : undefined;
    const root = { ...history.root, store: new FaultyStore(history.root.store, faults) };
    const before = await keysOf(history.root.store);
    await expect(compact(depsOf(history, { root }), jobOf(history), signal)).rejects.toMatchObject({
      name: "FormatError",
    });
    expect(await keysOf(history.root.store)).toEqual(before);
    expect(await readdir(scratchDirectory)).toEqual([]);
  });

  it("stores nothing if a source is gone: it is not passed over", async () => {
    const history = await historyOf(new MemoryStore(), 6);
    const [, , third] = history.catalog.level(0);
    await history.root.store.delete(third?.key as string);
    const before = await keysOf(history.root.store);
    await expect(compact(depsOf(history), jobOf(history), signal)).rejects.toMatchObject({
      code: "NOT_FOUND",
      key: third?.key,
    });
    expect(await keysOf(history.root.store)).toEqual(before);
  });

  it("takes another range under a source's key for damage, also where it is the only one", async () => {
    const history = await historyOf(new MemoryStore(), 2);
    const [first, second] = history.catalog.level(0);
    const { store } = history.root;
    await store.put(second?.key as string, await bytesOf(store, first?.key as string));
    const job = jobOf(history);
    expect(job.files).toEqual([second]);
    await expect(compact(depsOf(history), job, signal)).rejects.toMatchObject({
      name: "FormatError",
    });
  });

  it("counts a file that an earlier attempt has stored, if it is the same", async () => {
    const history = await historyOf(new MemoryStore(), 6);
    const job = jobOf(history);
    const first = await compact(depsOf(history), job, signal);
    expect(await compact(depsOf(history), job, signal)).toEqual(first);
  });

  it("leaves another's file under the key as it is: FOREIGN_WRITE, and in detected mode it is ours alone", async () => {
    const history = await historyOf(new MemoryStore(), 6);
    const job = jobOf(history);
    const { store } = history.root;
    const { key, size } = await compact(depsOf(history), job, signal);
    await store.put(key, Buffer.alloc(size, 7));
    await expect(compact(depsOf(history), job, signal)).rejects.toMatchObject({
      code: "FOREIGN_WRITE",
    });
    const beforeWrite = async () => ({ record: testEpoch, mode: detectedOnly });
    history.catalog.add(await compact(depsOf(history, { beforeWrite }), job, signal));
    await history.expectRestores();
  });

  it("writes nothing where the epoch is not proved to be ours, which is asked for after the merge", async () => {
    const history = await historyOf(new MemoryStore(), 6);
    const before = await keysOf(history.root.store);
    const points: string[] = [];
    const beforeWrite = async (): Promise<never> => {
      expect(points).toEqual(["compaction-written"]);
      throw new Error("fenced");
    };
    const deps = depsOf(history, { beforeWrite, at: (point) => points.push(point) });
    await expect(compact(deps, jobOf(history), signal)).rejects.toThrow("fenced");
    expect(await keysOf(history.root.store)).toEqual(before);
    expect(await readdir(scratchDirectory)).toEqual([]);
  });

  it("records no rolling checksum where the last source has none, and refuses one that is none", async () => {
    const history = await historyOf(new MemoryStore(), 6);
    const { store } = history.root;
    const last = history.catalog.level(0).at(-1)?.key as string;
    const bytes = await bytesOf(store, last);
    await store.put(last, bytes, { metadata: { "rolling-checksum": "none" } });
    await expect(compact(depsOf(history), jobOf(history), signal)).rejects.toMatchObject({
      code: "REPLICA_MALFORMED",
      key: last,
    });
    await store.put(last, bytes);
    const { key } = await compact(depsOf(history), jobOf(history), signal);
    expect((await store.head(key)).metadata).toEqual({ "epoch-nonce": testEpoch.nonce });
  });

  it.each([
    ["a source is fetched", "get", "4-0000"],
    ["the result is stored", "putIfAbsent", "/0001/"],
  ])("ends at once when it is aborted while %s, and leaves nothing", async (...given) => {
    const [, operation, part] = given;
    const history = await historyOf(new MemoryStore(), 6);
    const closing = new AbortController();
    const stop = new Error("stop");
    const faults: FaultPlan = (call) => {
      if (call.operation !== operation || !call.key.includes(part)) return undefined;
      closing.abort(stop);
      return { kind: "stall" };
    };
    const root = { ...history.root, store: new FaultyStore(history.root.store, faults) };
    const before = await keysOf(history.root.store);
    const compacting = compact(depsOf(history, { root }), jobOf(history), closing.signal);
    await expect(compacting).rejects.toBe(stop);
    expect(await keysOf(history.root.store)).toEqual(before);
    expect(await readdir(scratchDirectory)).toEqual([]);
  });
});
