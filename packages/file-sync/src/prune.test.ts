import {
  FaultyStore,
  MemoryStore,
  type ObjectStore,
  ObjectStoreError,
} from "@vaultwarden-stream/object-store";
import { beforeEach, describe, expect, it } from "vitest";
import { blobKey, blobPrefix } from "./blob-key.ts";
import { chooseManifest } from "./choose-manifest.ts";
import type { Manifest } from "./manifest.ts";
import { manifestKey, manifestPrefix } from "./manifest-key.ts";
import { listManifests, readManifest, writeManifest } from "./manifests.ts";
import { type PruneOptions, prune } from "./prune.ts";
import { digest } from "./test-tree.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
let nowMs: number;
let memory: MemoryStore;
const now = (): Date => new Date(nowMs);
beforeEach(() => {
  nowMs = Date.UTC(2026, 0, 1);
  memory = new MemoryStore({ now });
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const blobOf = (text: string): string => blobKey(digest(bytes(text)));

/** Blobs, then a manifest that names them: one file each, with the text as name and content. */
async function push(sequence: number, texts: readonly string[], more: Partial<Manifest> = {}) {
  for (const text of texts) await memory.put(blobOf(text), bytes(text));
  await writeManifest(memory, toManifest(sequence, texts, more));
}

function toManifest(
  sequence: number,
  texts: readonly string[],
  more: Partial<Manifest> = {},
): Manifest {
  const entries = texts.toSorted().map((text) => {
    const content = bytes(text);
    const { length: size } = content;
    return {
      kind: "file",
      path: text,
      mode: 0o600,
      mtimeMs: 0,
      size,
      sha256: digest(content),
    } as const;
  });
  return { timeline: "t", epoch: 1, sequence, txid: "0".repeat(16), time: now(), entries, ...more };
}

function options(more: Partial<PruneOptions> = {}): PruneOptions {
  const lineages = [[{ timeline: "t" }]];
  const precisions = [{ keepMs: 30 * dayMs, windowMs: 0 }];
  return { store: memory, now, precisions, moments: [], graceMs: dayMs, lineages, ...more };
}

async function keys(prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const page of memory.list(prefix)) found.push(...page.map(({ key }) => key));
  return found.toSorted();
}

const blobs = (): Promise<string[]> => keys(blobPrefix);
const blobsOf = (...texts: string[]): string[] => texts.map(blobOf).toSorted();
const sequences = async (): Promise<number[]> =>
  (await listManifests(memory)).map(({ sequence }) => sequence);

describe("prune", () => {
  it("keeps what a moment within the retention needs, the state at its beginning included, and nothing else", async () => {
    await push(1, ["always", "first"]);
    nowMs += 10 * dayMs;
    await push(2, ["always", "second"]);
    nowMs += 25 * dayMs;
    await push(3, ["always", "third"]);
    nowMs += 10 * dayMs;

    expect(await prune(options({ dryRun: true }))).toMatchObject({
      manifestsDeleted: 0,
      remaining: 2,
    });
    expect(await sequences()).toEqual([1, 2, 3]);
    expect(await prune(options())).toEqual({
      manifestsDeleted: 1,
      blobsDeleted: 1,
      bytesDeleted: 5,
      remaining: 0,
    });
    expect(await sequences()).toEqual([2, 3]);
    expect(await blobs()).toEqual(blobsOf("always", "second", "third"));
    expect(await prune(options())).toMatchObject({ manifestsDeleted: 0, blobsDeleted: 0 });

    nowMs += 300 * dayMs;
    await prune(options());
    expect(await sequences()).toEqual([3]);
    expect(await blobs()).toEqual(blobsOf("always", "third"));
  });

  it("leaves young blobs, and blobs that are not ours", async () => {
    await push(1, ["named"]);
    await memory.put(blobOf("old"), bytes("old"));
    await memory.put("files/blobs/README", bytes("a stranger's"));
    await memory.put(`files/blobs/zz/${"0".repeat(64)}`, bytes("in a wrong place"));
    nowMs += dayMs;
    await memory.put(blobOf("young"), bytes("young"));
    nowMs += 1;
    await prune(options());
    const left = await blobs();
    expect(left).not.toContain(blobOf("old"));
    expect(left).toHaveLength(4);
  });

  it("judges age by the store's clock, not by ours", async () => {
    await push(1, ["named"]);
    await memory.put(blobOf("unnamed"), bytes("unnamed"));
    nowMs += dayMs - 60_000;
    const ourClock = (): Date => new Date(nowMs + 4 * 60_000);
    expect(await prune(options({ now: ourClock, store: tellingTime(memory) }))).toMatchObject({
      blobsDeleted: 0,
    });
    expect(await blobs()).toContain(blobOf("unnamed"));
  });

  it("deletes nothing while the clocks differ", async () => {
    await push(1, ["named"]);
    await memory.put(blobOf("unnamed"), bytes("unnamed"));
    nowMs += 40 * dayMs;
    for (const differenceMs of [5.1 * 60_000, -5.1 * 60_000]) {
      const wrong = (): Date => new Date(nowMs + differenceMs);
      const result = await prune(options({ now: wrong, store: tellingTime(memory) }));
      expect(result).toMatchObject({ blobsDeleted: 0, stopped: { reason: "clock" } });
    }
    expect(await prune(options({ store: tellingTime(memory) }))).toMatchObject({ blobsDeleted: 1 });
  });

  it("never takes a manifest from the future for an old one, nor the newest for unneeded", async () => {
    await push(1, ["future"], { time: new Date(nowMs + 4000 * dayMs) });
    await push(2, ["newest"]);
    nowMs += 1000 * dayMs;
    await prune(options());
    expect(await sequences()).toEqual([1, 2]);
  });

  it("keeps what the line needs of its ancestors, the state at the branch; what they wrote after it goes when it is old", async () => {
    await push(1, ["before"], { timeline: "parent", txid: "0".repeat(15) + 1 });
    nowMs += dayMs;
    await push(2, ["after the branch"], { timeline: "parent", txid: "0".repeat(15) + 2 });
    nowMs += 50 * dayMs;
    await push(1, ["child"], { timeline: "child", epoch: 2, txid: "0".repeat(15) + 2 });
    const line = [{ timeline: "child" }, { timeline: "parent", upToTxid: "0".repeat(15) + 1 }];
    nowMs -= 20 * dayMs;
    await prune(options({ lineages: [line] }));
    expect(await blobs()).toEqual(blobsOf("before", "after the branch", "child"));
    nowMs += 20 * dayMs;
    await prune(options({ lineages: [line] }));
    expect(await blobs()).toEqual(blobsOf("before", "child"));
  });

  it("keeps dead timelines whole until their last manifest is out of the retention", async () => {
    await push(1, ["dead 1"], { timeline: "dead" });
    nowMs += 20 * dayMs;
    await push(2, ["dead 2"], { timeline: "dead" });
    await push(1, ["living"]);
    nowMs += 29 * dayMs;
    await prune(options());
    expect(await blobs()).toEqual(blobsOf("dead 1", "dead 2", "living"));
    nowMs += 3 * dayMs;
    await prune(options());
    expect(await blobs()).toEqual(blobsOf("living"));
    expect(await listManifests(memory)).toMatchObject([{ timeline: "t" }]);
  });

  it("deletes nothing if the living line has no manifest: it may have been deleted", async () => {
    await push(1, ["other"], { timeline: "other" });
    await memory.put(blobOf("unnamed"), bytes("unnamed"));
    nowMs += 400 * dayMs;
    for (const lineages of [[[{ timeline: "t" }]], []]) {
      expect(await prune(options({ lineages }))).toMatchObject({
        stopped: { reason: "no-manifests" },
      });
    }
    expect(await blobs()).toHaveLength(2);
    expect(await listManifests(memory)).toHaveLength(1);
  });
});

describe("prune by the precision of an age", () => {
  const hourly = [
    { keepMs: hourMs, windowMs: 0 },
    { keepMs: 30 * dayMs, windowMs: hourMs },
  ];
  /** A manifest every 20 minutes, three in each hour: 1 … 3, 4 … 6, and so on. */
  const pushEvery20Minutes = async (count: number, texts: (sequence: number) => string[]) => {
    for (let sequence = 1; sequence <= count; sequence += 1) {
      await push(sequence, texts(sequence));
      nowMs += 20 * 60_000;
    }
  };
  const graceMs = 30 * 60_000;

  it("keeps the last of each window, and all that are younger than the finest precision and the grace", async () => {
    await pushEvery20Minutes(13, (sequence) => [`text ${sequence}`]);
    expect(await prune(options({ precisions: hourly, graceMs }))).toMatchObject({
      manifestsDeleted: 6,
    });
    // 10 is 80 minutes old: out of the hour, and not out of the grace.
    expect(await sequences()).toEqual([3, 6, 9, 10, 11, 12, 13]);
    const left = [3, 6, 9, 10, 11, 12, 13].map((one) => `text ${one}`);
    expect(await blobs()).toEqual(blobsOf(...left));
  });

  it("keeps what was in force at each moment that is offered, however it lies in its window", async () => {
    const startMs = nowMs;
    await pushEvery20Minutes(12, (sequence) => [`text ${sequence}`]);
    const moments = [startMs + 5 * 60_000, startMs + 80 * 60_000].map((ms) => new Date(ms));
    await prune(options({ precisions: hourly, graceMs, moments }));
    expect(await sequences()).toEqual([1, 3, 5, 6, 9, 10, 11, 12]);
  });

  it("keeps a file that a row may name and no other manifest has, stored after the moment and gone before the next", async () => {
    await pushEvery20Minutes(12, (sequence) => [
      "config.json",
      // One manifest of the first hour and two of the second have a file that no kept one has.
      ...(sequence === 2 ? ["attachments/a"] : []),
      ...(sequence === 4 || sequence === 5 ? ["attachments/b"] : []),
      ...(sequence === 1 ? ["icons/c"] : []),
    ]);
    const isNamedElsewhere = (path: string): boolean => path.startsWith("attachments/");
    await prune(options({ precisions: hourly, graceMs, isNamedElsewhere }));
    expect(await sequences()).toEqual([2, 3, 5, 6, 9, 10, 11, 12]);
    expect(await blobs()).toEqual(blobsOf("config.json", "attachments/a", "attachments/b"));
    await expectWhole(memory);
    // Out of the retention it goes with everything else.
    nowMs += 40 * dayMs;
    await prune(options({ precisions: hourly, graceMs, isNamedElsewhere }));
    expect(await sequences()).toEqual([12]);
  });

  it("keeps it also where a manifest has it that the line has left behind", async () => {
    const startMs = nowMs;
    const txid = "0".repeat(15);
    await push(1, ["attachments/a"], { txid: `${txid}1` });
    nowMs += 60_000;
    await push(2, ["attachments/a"], { txid: `${txid}2` });
    await push(1, ["config.json"], { timeline: "child", epoch: 2, txid: `${txid}2` });
    nowMs = startMs + 12 * hourMs;
    const line = [{ timeline: "child" }, { timeline: "t", upToTxid: `${txid}1` }];
    const isNamedElsewhere = (path: string): boolean => path.startsWith("attachments/");
    await prune(options({ precisions: hourly, graceMs, isNamedElsewhere, lineages: [line] }));
    expect(chooseManifest(await listManifests(memory), line.slice(1))).toMatchObject({
      sequence: 1,
    });
  });

  it("deletes nothing if one of those that might go cannot be read", async () => {
    await pushEvery20Minutes(12, (sequence) => [`text ${sequence}`]);
    const [first] = await listManifests(memory);
    if (first !== undefined) await memory.put(manifestKey(first), bytes("{}"));
    const run = prune(options({ precisions: hourly, graceMs, isNamedElsewhere: () => true }));
    await expect(run).rejects.toMatchObject({ code: "MANIFEST_INVALID" });
    expect(await sequences()).toHaveLength(12);
  });
});

describe("prune and what it cannot read", () => {
  beforeEach(async () => {
    await push(1, ["old"]);
    nowMs += 40 * dayMs;
    await push(2, ["kept"]);
    nowMs += 40 * dayMs;
    await push(3, ["new"]);
    nowMs += dayMs + 1;
  });

  it.each([
    [
      "a manifest of another version",
      async () => {
        const [, kept] = await listManifests(memory);
        if (kept !== undefined) await memory.put(manifestKey(kept), bytes('{"version":2}'));
      },
    ],
    [
      "a key that a later version may have made",
      () => memory.put(`${manifestPrefix}t/v2-1.json`, bytes("{}")),
    ],
  ])("deletes nothing: %s", async (_, spoil) => {
    await spoil();
    await expect(prune(options())).rejects.toMatchObject({ code: "MANIFEST_INVALID" });
    expect(await keys("")).toHaveLength(6 + (await keys(`${manifestPrefix}t/v2`)).length);
  });

  it("deletes nothing whichever request before the first deletion fails, and each time it is killed it leaves no manifest without its blobs", async () => {
    const all = await keys("");
    for (const code of ["UNREACHABLE", "FORBIDDEN"] as const) {
      for (const kind of ["error-before", "error-after"] as const) {
        let requests = 0;
        for (let failing = 1; requests >= failing - 1; failing += 1) {
          const copy = await copyOf(memory);
          requests = 0;
          let isDeleting = false;
          const store = new FaultyStore(copy, ({ operation }) => {
            isDeleting ||= operation === "deleteAll";
            return ++requests === failing ? { kind, code } : undefined;
          });
          const outcome = await prune(options({ store })).catch((error: unknown) => error);
          if (requests >= failing && !isDeleting) expect(outcome).toMatchObject({ code });
          if (!isDeleting) expect(await keysOf(copy)).toEqual(all);
          await expectWhole(copy);
          await prune(options({ store: copy }));
          expect(await listManifests(copy)).toMatchObject([{ sequence: 2 }, { sequence: 3 }]);
          await expectWhole(copy);
        }
        // Two listings of manifests, one of blobs, two manifests read, one deleted; a look at one blob, which is deleted.
        expect(requests).toBe(8);
      }
    }
  });

  it("is told by a store that forbids to delete that this is an append-only place, which is no failure", async () => {
    const store = new FaultyStore(memory, ({ operation }) =>
      operation === "deleteAll" ? { kind: "error-before", code: "FORBIDDEN" } : undefined,
    );
    expect(await prune(options({ store }))).toEqual({
      manifestsDeleted: 0,
      blobsDeleted: 0,
      bytesDeleted: 0,
      remaining: 2,
      stopped: { reason: "append-only", message: expect.stringContaining("injected fault") },
    });
  });
});

describe("prune by few requests", () => {
  const texts = Array.from({ length: 40 }, (_, index) => `text ${index}`);
  beforeEach(async () => {
    for (const [index, text] of texts.entries()) await push(index + 1, [text]);
    nowMs += 40 * dayMs;
    await push(41, ["last"]);
    nowMs += 40 * dayMs;
  });

  it("deletes all manifests by one, and of the blobs as many as were just looked at", async () => {
    const asked: string[] = [];
    const store = new FaultyStore(memory, ({ operation, key }) => {
      if (operation === "deleteAll" || operation === "head") asked.push(`${operation} ${key}`);
      return undefined;
    });
    expect(await prune(options({ store }))).toMatchObject({
      manifestsDeleted: 40,
      blobsDeleted: 40,
      bytesDeleted: texts.join("").length,
    });
    const lengths = asked
      .join(" ")
      .split("deleteAll")
      .map((part) => part.split("head").length - 1);
    expect(lengths).toEqual([0, 16, 16, 8, 0]);
  });

  it("counts what is gone where only some of a request is, and the next run takes the others", async () => {
    for (const code of ["FORBIDDEN", "UNREACHABLE"] as const) {
      const store = new Proxy(memory, {
        get: (target, name) => {
          if (name === "deleteAll") {
            return async (asked: readonly string[]) => {
              const leftKeys = asked.filter((_, index) => index % 4 === 0);
              await target.deleteAll(asked.filter((key) => !leftKeys.includes(key)));
              const details = { operation: "deleteAll", key: "k", leftKeys };
              throw new ObjectStoreError(code, "some are left", details);
            };
          }
          const value: unknown = Reflect.get(target, name);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
      const count = (await listManifests(memory)).length;
      const result = await prune(options({ store })).catch((error: unknown) => error);
      const gone = count - (await listManifests(memory)).length;
      expect(gone).toBeGreaterThan(0);
      if (code === "FORBIDDEN") {
        expect(result).toMatchObject({ manifestsDeleted: gone, remaining: 80 - gone });
        expect(result).toMatchObject({ stopped: { reason: "append-only" } });
      } else expect(result).toMatchObject({ code });
      await expectWhole(memory);
    }
    expect(await prune(options())).toMatchObject({ blobsDeleted: 40, remaining: 0 });
    expect(await sequences()).toEqual([41]);
  });
});

describe("prune beside a push", () => {
  beforeEach(async () => {
    await push(1, ["named"]);
    await memory.put(blobOf("unnamed"), bytes("unnamed"));
    nowMs += 40 * dayMs;
  });

  it("spares the blobs of a manifest that came after the first listing", async () => {
    let isPushed = false;
    const store = new FaultyStore(memory, ({ operation, key, nth }) => {
      if (operation !== "list" || key !== manifestPrefix || nth !== 2) return undefined;
      isPushed = true;
      const wait = () => writeManifest(memory, toManifest(2, ["named", "unnamed"]));
      return { kind: "delay", wait };
    });
    expect(await prune(options({ store }))).toMatchObject({ blobsDeleted: 0 });
    expect(isPushed).toBe(true);
    await expectWhole(memory);
  });

  it("spares a blob that was sent again for a manifest which is still to come", async () => {
    const store = new FaultyStore(memory, ({ operation }) =>
      operation === "head"
        ? { kind: "delay", wait: () => memory.put(blobOf("unnamed"), bytes("unnamed")) }
        : undefined,
    );
    expect(await prune(options({ store }))).toMatchObject({ blobsDeleted: 0 });
    await push(2, ["named", "unnamed"]);
    await expectWhole(memory);
  });
});

describe("prune within its bounds", () => {
  it("stops at so many objects, manifests first, and no blob goes while one of them is left", async () => {
    for (let sequence = 1; sequence <= 5; sequence += 1) {
      await push(sequence, [`text ${sequence}`]);
      nowMs += 40 * dayMs;
    }
    const bounded = options({ deletesMax: 2 });
    expect(await prune(bounded)).toMatchObject({
      manifestsDeleted: 2,
      blobsDeleted: 0,
      remaining: 6,
      stopped: { reason: "count" },
    });
    await expectWhole(memory);
  });

  it("needs force for a share of the blobs that looks like a mistake, and none for a few", async () => {
    const many = Array.from({ length: 101 }, (_, index) => `text ${index}`);
    await push(1, many);
    nowMs += 40 * dayMs;
    await push(2, ["last"]);
    nowMs += 40 * dayMs;
    expect(await prune(options())).toMatchObject({ blobsDeleted: 0, stopped: { reason: "share" } });
    expect(await sequences()).toEqual([1, 2]);
    expect(await prune(options({ force: true }))).toMatchObject({
      blobsDeleted: 101,
      remaining: 0,
    });
    expect(await blobs()).toEqual(blobsOf("last"));
  });
});

/** Every manifest that is there can be restored. */
async function expectWhole(store: ObjectStore): Promise<void> {
  const there = new Set(await keysOf(store));
  for (const ref of await listManifests(store)) {
    for (const entry of (await readManifest(store, ref)).entries) {
      if (entry.kind === "file") expect(there).toContain(blobKey(entry.sha256));
    }
  }
}

async function keysOf(store: ObjectStore): Promise<string[]> {
  const found: string[] = [];
  for await (const page of store.list("")) found.push(...page.map(({ key }) => key));
  return found.toSorted();
}

/** The same objects, each as old as it is. */
async function copyOf(store: MemoryStore): Promise<MemoryStore> {
  let writtenMs = nowMs;
  const copy = new MemoryStore({ now: () => new Date(writtenMs) });
  for await (const page of store.list("")) {
    for (const { key, lastModified } of page) {
      writtenMs = lastModified.getTime();
      const chunks: Uint8Array[] = [];
      for await (const chunk of (await store.get(key)).body) chunks.push(chunk);
      await copy.put(key, Buffer.concat(chunks));
    }
  }
  writtenMs = nowMs;
  return copy;
}

/** Listings of the memory do not say what time it is there; those of S3 do. */
function tellingTime(store: MemoryStore): ObjectStore {
  return new Proxy(store, {
    get: (target, name) => {
      if (name === "list") {
        return async function* (prefix: string) {
          for await (const page of target.list(prefix)) {
            yield page.map((info) => ({ ...info, storeTime: now() }));
          }
        };
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
