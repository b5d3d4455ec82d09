import {
  FaultyStore,
  MemoryStore,
  type ObjectStore,
  ObjectStoreError,
  type StoreCall,
  seededFaults,
} from "@vaultwarden-stream/object-store";
import { beforeEach, describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { recoveryPoints } from "../recovery-points.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import type { EpochMode } from "../replica/epoch.ts";
import {
  type EpochRecord,
  encodeEpochRecord,
  type TimelinePosition,
} from "../replica/epoch-record.ts";
import { detectedOnly, exclusive, keysOf, recordFor, rootOf } from "../replica/epoch-testing.ts";
import { listTimeline } from "../replica/replica.ts";
import { formatEpochKey, formatLtxKey } from "../replica/replica-layout.ts";
import type { RetentionEvent } from "./events-of-retention.ts";
import { offeredInstants } from "./offered-instants.ts";
import { Retainer } from "./retain.ts";
import { hourMs, minuteMs, smallPolicy as policy } from "./retention-testing.ts";

let nowMs: number;
let memory: MemoryStore;
let events: RetentionEvent[];
let proven: TimelinePosition[];
beforeEach(() => {
  nowMs = Date.UTC(2026, 0, 1);
  memory = new MemoryStore({ now: () => new Date(nowMs) });
  events = [];
  proven = [];
});

/** Takes the next epoch with a timeline of its own. */
async function begin(owner: string, epoch: number, parent: TimelinePosition | null) {
  const record = recordFor(owner, { parent })(epoch);
  const key = `vault/${formatEpochKey({ epoch, nonce: undefined }, "record")}`;
  await memory.put(key, encodeEpochRecord(record));
  return record;
}

async function store({ timeline }: EpochRecord, level: number, min: number, max: number) {
  const [minTxid, maxTxid] = [toTxid(min), toTxid(max)];
  const key = `vault/db/${timeline}/${formatLtxKey({ level, minTxid, maxTxid }, "s3")}`;
  await memory.put(key, new Uint8Array(100), { timestamp: new Date(nowMs) });
}

/** A commit every five minutes from TXID 1 on, merged every 20 minutes straight into level 3. */
async function commitAndMerge(
  record: EpochRecord,
  from: number,
  count: number,
  stepMs = 5 * minuteMs,
): Promise<void> {
  for (let txid = from; txid < from + count; txid += 1) {
    await store(record, 0, txid, txid);
    if (txid % 4 === 1 && txid > 4) await store(record, 3, txid - 3, txid);
    nowMs += stepMs;
  }
}

const slowCommits = 80;
const busyStepMs = minuteMs / 2;

/** After the slow commits so many that they take several requests to delete. */
async function becomeBusy(record: EpochRecord): Promise<void> {
  await commitAndMerge(record, slowCommits + 1, 400, busyStepMs);
  nowMs += 5 * hourMs;
}

async function retainerOf(
  record: EpochRecord,
  wrapped: ObjectStore = memory,
  at = (): void => {},
  mode: EpochMode = exclusive,
) {
  const catalog = await listTimeline(rootOf(memory), record.timeline);
  const retainer = new Retainer({
    root: rootOf(wrapped),
    catalog,
    policy,
    beforeWrite: async () => ({ record, mode }),
    proven: async () => proven,
    now: () => nowMs,
    at,
    emit: (event) => events.push(event),
  });
  return { retainer, catalog };
}

const run = (retainer: Retainer): Promise<void> => retainer.retain(new AbortController().signal);
const ltxKeys = async (): Promise<string[]> =>
  (await keysOf(memory)).filter((key) => key.endsWith(".ltx"));

/** Keeps count of what is asked, and says what fails. */
function watched(
  fail: (call: StoreCall & { readonly count: number }) => boolean,
  code: "FORBIDDEN" | "UNREACHABLE",
) {
  const calls: StoreCall[] = [];
  const counting = new FaultyStore(memory, (call) => {
    calls.push(call);
    const count = calls.filter(({ operation }) => operation === call.operation).length;
    return fail({ ...call, count }) ? { kind: "error-before", code } : undefined;
  });
  return { calls, store: counting };
}

const operations = (calls: readonly StoreCall[]): Record<string, number> =>
  Object.fromEntries(
    [...Map.groupBy(calls, ({ operation }) => operation)].map(([name, all]) => [name, all.length]),
  );

describe("retention of one timeline", () => {
  let record: EpochRecord;
  beforeEach(async () => {
    record = await begin("aa", 1, null);
    await commitAndMerge(record, 1, slowCommits);
  });

  it("deletes what is merged and out of its precision, from the store and the catalogue, and asks nothing while there is nothing", async () => {
    const { calls, store: wrapped } = watched(() => false, "UNREACHABLE");
    const { retainer, catalog } = await retainerOf(record, wrapped);
    const before = offeredInstants(catalog.files, policy, nowMs).map(({ txid }) => txid);
    await run(retainer);
    const [event] = events;
    expect(event).toMatchObject({
      type: "retained",
      remaining: 0,
      reasons: { "beyond-retention": 0 },
    });
    expect(operations(calls)).toEqual({
      list: 2,
      get: 1,
      head: 1,
      deleteAll: 1,
    });
    expect((event as { files: number }).files).toBeGreaterThan(20);
    expect((await ltxKeys()).toSorted()).toEqual(catalog.files.map(({ key }) => key).toSorted());
    const after = new Set(recoveryPoints(catalog.files).map(({ txid }) => txid));
    expect(before.filter((txid) => !after.has(txid))).toEqual([]);
    calls.length = 0;
    for (let minute = 0; minute < 4; minute += 1) await run(retainer);
    expect(operations(calls)).toEqual({});
  });

  it("whatever request fails, what is offered stays, and the next run ends the work", async () => {
    await becomeBusy(record);
    const whole = await keysOf(memory);
    const { retainer, catalog } = await retainerOf(record);
    const offered = offeredInstants(catalog.files, policy, nowMs).map(({ txid }) => txid);
    await run(retainer);
    const tidy = await ltxKeys();
    let requests = 0;
    for (let failing = 1; requests >= failing - 1; failing += 1) {
      await restore(whole);
      requests = 0;
      const wrapped = new FaultyStore(memory, () =>
        ++requests === failing
          ? { kind: failing % 2 ? "error-before" : "error-after", code: "UNREACHABLE" }
          : undefined,
      );
      const { retainer: faulty, catalog: known } = await retainerOf(record, wrapped);
      const outcome = await run(faulty).catch((error: unknown) => error);
      if (requests >= failing) expect(outcome).toMatchObject({ code: "UNREACHABLE" });
      const there = await listTimeline(rootOf(memory), record.timeline);
      const points = new Set(recoveryPoints(there.files).map(({ txid }) => txid));
      expect(offered.filter((txid) => !points.has(txid))).toEqual([]);
      // Nothing that is gone is believed to be there, but for an answer that was lost.
      const gone = known.files.filter(({ key }) => !there.files.some((file) => file.key === key));
      expect(gone.length).toBeLessThanOrEqual(failing % 2 ? 0 : 100);
      await run(faulty);
      expect((await ltxKeys()).toSorted()).toEqual(tidy.toSorted());
    }
    expect(requests).toBeGreaterThan(8);
  }, 60_000);

  it("of a request that deletes some, these are out of the catalogue and counted, and the next run takes the others", async () => {
    await becomeBusy(record);
    let isPartial = true;
    const partial = proxy({
      deleteAll: async (keys) => {
        const leftKeys = isPartial ? keys.filter((_, index) => index % 3 === 0) : [];
        for (const key of keys) if (!leftKeys.includes(key)) await memory.delete(key);
        if (leftKeys.length === 0) return;
        const details = { operation: "deleteAll", key: "k", leftKeys };
        throw new ObjectStoreError("UNREACHABLE", "some are left", details);
      },
    });
    const { retainer, catalog } = await retainerOf(record, partial);
    await expect(run(retainer)).rejects.toMatchObject({ code: "UNREACHABLE" });
    expect(catalog.files.map(({ key }) => key).toSorted()).toEqual((await ltxKeys()).toSorted());
    expect(events).toMatchObject([{ type: "retained", files: 66 }]);
    const { remaining } = events[0] as { remaining: number };
    isPartial = false;
    await run(retainer);
    expect(events[1]).toMatchObject({ type: "retained", files: remaining, remaining: 0 });
    expect(catalog.files.map(({ key }) => key).toSorted()).toEqual((await ltxKeys()).toSorted());
  });

  it("of a request that was broken off anywhere, what is offered stays", async () => {
    const whole = await keysOf(memory);
    const { retainer, catalog } = await retainerOf(record);
    const offered = offeredInstants(catalog.files, policy, nowMs).map(({ txid }) => txid);
    await run(retainer);
    const tidy = (await ltxKeys()).toSorted();
    for (let seed = 0; seed < 20; seed += 1) {
      await restore(whole);
      const isChosen = seededFaults(seed, 0.5, [{ kind: "stall" }]);
      const killed = proxy({
        deleteAll: async (keys) => {
          for (const key of keys) {
            if (isChosen({ operation: "delete", key, nth: 1 })) await memory.delete(key);
          }
          throw new Error("killed");
        },
      });
      await expect(run((await retainerOf(record, killed)).retainer)).rejects.toThrow("killed");
      const there = await listTimeline(rootOf(memory), record.timeline);
      const left = new Set(recoveryPoints(there.files).map(({ txid }) => txid));
      expect(offered.filter((txid) => !left.has(txid))).toEqual([]);
      await run((await retainerOf(record)).retainer);
      expect((await ltxKeys()).toSorted()).toEqual(tidy);
    }
  });

  it("killed between any two deletes it leaves what is offered, and the next life ends the work", async () => {
    await becomeBusy(record);
    const whole = await keysOf(memory);
    const { retainer, catalog } = await retainerOf(record);
    const offered = offeredInstants(catalog.files, policy, nowMs).map(({ txid }) => txid);
    await run(retainer);
    const tidy = (await ltxKeys()).toSorted();
    let points = 0;
    for (let killed = 1; points >= killed - 1; killed += 1) {
      await restore(whole);
      points = 0;
      const kill = (): void => {
        points += 1;
        if (points === killed) throw new Error("killed");
      };
      const outcome = await run((await retainerOf(record, memory, kill)).retainer).catch(String);
      const there = await listTimeline(rootOf(memory), record.timeline);
      const left = new Set(recoveryPoints(there.files).map(({ txid }) => txid));
      expect(offered.filter((txid) => !left.has(txid))).toEqual([]);
      // What is left is one line: no file is of no use.
      expect(there.files.filter(({ maxTxid }) => !left.has(maxTxid))).toEqual([]);
      expect(outcome === undefined).toBe(points < killed);
      await run((await retainerOf(record)).retainer);
      expect((await ltxKeys()).toSorted()).toEqual(tidy);
    }
    expect(points).toBeGreaterThan(3);
  });

  it("is append-only where the store forbids to delete: said once, tried once a day, ended by the first success", async () => {
    let isForbidden = true;
    const { calls, store: wrapped } = watched(
      ({ operation }) => isForbidden && operation === "deleteAll",
      "FORBIDDEN",
    );
    const { retainer } = await retainerOf(record, wrapped);
    const before = await ltxKeys();
    await run(retainer);
    expect(retainer.held).toBe("append-only");
    expect(events).toMatchObject([
      {
        type: "retention-held",
        reason: "append-only",
        message: expect.stringContaining("injected fault"),
      },
    ]);
    calls.length = 0;
    for (let hour = 0; hour < 23; hour += 1) {
      nowMs += hourMs;
      await run(retainer);
    }
    expect(calls).toEqual([]);
    nowMs += 2 * hourMs;
    await run(retainer);
    expect(await ltxKeys()).toEqual(before);
    expect(events).toHaveLength(1);
    isForbidden = false;
    nowMs += 25 * hourMs;
    await run(retainer);
    expect(retainer.held).toBeUndefined();
    expect(events.map(({ type }) => type)).toEqual([
      "retention-held",
      "retention-resumed",
      "retained",
    ]);
  });

  it("deletes nothing while this machine's clock and the store's differ, ahead or behind", async () => {
    const before = await ltxKeys();
    const { retainer } = await retainerOf(record, clockWrongBy(5.1 * minuteMs));
    await run(retainer);
    const { retainer: other } = await retainerOf(record, clockWrongBy(-5.1 * minuteMs));
    await run(other);
    expect(await ltxKeys()).toEqual(before);
    expect(events).toMatchObject([{ reason: "clock" }, { reason: "clock" }]);
    const { retainer: right } = await retainerOf(record, clockWrongBy(4.9 * minuteMs));
    await run(right);
    expect((await ltxKeys()).length).toBeLessThan(before.length);
  });

  it("says of a store that deletes nothing that its deletes have no effect", async () => {
    const deaf = proxy({ deleteAll: async () => {} });
    const { retainer, catalog } = await retainerOf(record, deaf);
    const before = catalog.files.length;
    await run(retainer);
    expect(events.map(({ type }) => type)).toEqual(["retained"]);
    expect(catalog.files.length).toBeLessThan(before);
    nowMs += 25 * hourMs;
    await run(retainer);
    expect(events[1]).toMatchObject({
      type: "deletes-ignored",
      files: before - (await retained()),
    });
  });

  it("says that files of ours were deleted by somebody else, and does without them", async () => {
    const { retainer, catalog } = await retainerOf(record);
    const cover = catalog.level(3).find(({ minTxid }) => minTxid === 10n) as ReplicaFile;
    await memory.delete(cover.key);
    await run(retainer);
    expect(events[0]).toMatchObject({ type: "files-vanished", files: 1, key: cover.key });
    // What it covered would be gone with it, if the catalogue had been believed.
    expect(catalog.level(0).map(({ minTxid }) => minTxid)).toEqual(
      expect.arrayContaining([10n, 11n, 12n, 13n]),
    );
  });

  it("keeps the chain to a proven point that would go otherwise", async () => {
    proven = [{ timeline: record.timeline, txid: toTxid(12) }];
    const { retainer, catalog } = await retainerOf(record);
    await run(retainer);
    expect(recoveryPoints(catalog.files).map(({ txid }) => txid)).toContain(12n);
    proven = [];
    nowMs += 25 * hourMs;
    await run(retainer);
    expect(recoveryPoints(catalog.files).map(({ txid }) => txid)).not.toContain(12n);
  });

  it("is ended by whoever has taken over, before the next delete", async () => {
    await becomeBusy(record);
    const { catalog } = await retainerOf(record);
    let asked = 0;
    const retainer = new Retainer({
      root: rootOf(memory),
      catalog,
      policy,
      beforeWrite: async () => {
        asked += 1;
        if (asked === 4) throw new Error("fenced");
        return { record, mode: exclusive };
      },
      proven: async () => [],
      now: () => nowMs,
      at: () => {},
      emit: (event) => events.push(event),
    });
    const before = (await ltxKeys()).length;
    await expect(run(retainer)).rejects.toThrow("fenced");
    expect(before - (await ltxKeys()).length).toBe(200);
    expect(events).toMatchObject([{ type: "retained", files: 200 }]);
  });

  async function retained(): Promise<number> {
    const [event] = events;
    const { retainer, catalog } = await retainerOf(record);
    expect(retainer.held).toBeUndefined();
    return catalog.files.length - (event as { files: number }).files;
  }
});

describe("retention of other timelines", () => {
  it("a dead line goes whole after its retention, and not before, by the day on which it was stored", async () => {
    const old = await begin("aa", 1, null);
    await commitAndMerge(old, 1, 8);
    nowMs += 40 * hourMs;
    // Captured long ago, stored today: the objects' own times are old.
    const branch = await begin("bb", 2, { timeline: old.timeline, txid: toTxid(6) });
    const storedMs = nowMs;
    nowMs -= 39 * hourMs;
    for (const txid of [7, 8]) await store(branch, 0, txid, txid);
    nowMs = storedMs;
    const head = await begin("cc", 3, { timeline: old.timeline, txid: toTxid(8) });
    await commitAndMerge(head, 9, 2);
    await store(head, 9, 1, 10);
    const { retainer } = await retainerOf(head);
    nowMs = storedMs + 12 * hourMs;
    await run(retainer);
    expect((await listTimeline(rootOf(memory), branch.timeline)).files).toHaveLength(2);
    nowMs = storedMs + 26 * hourMs;
    await run(retainer);
    expect((await listTimeline(rootOf(memory), branch.timeline)).files).toEqual([]);
    expect((await listTimeline(rootOf(memory), old.timeline)).files).toEqual([]);
    expect((await listTimeline(rootOf(memory), head.timeline)).level(0)).toHaveLength(1);
  });

  it("a dead line lives from the day on which its last object was stored, however old its epoch and its content", async () => {
    const head = await begin("aa", 1, null);
    const branch = await begin("bb", 2, { timeline: head.timeline, txid: toTxid(3) });
    await commitAndMerge(head, 1, 80);
    nowMs += 40 * hourMs;
    const [minTxid, maxTxid] = [toTxid(4), toTxid(4)];
    const key = `vault/db/${branch.timeline}/${formatLtxKey({ level: 0, minTxid, maxTxid }, "s3")}`;
    await memory.put(key, new Uint8Array(100), { timestamp: new Date(nowMs - 40 * hourMs) });
    nowMs += 11 * hourMs;
    const { retainer } = await retainerOf(head);
    await run(retainer);
    expect(await ltxKeys()).toContain(key);
  });

  it.each([
    ["exclusive", exclusive],
    ["detected", detectedOnly],
  ])("a branch that begins while we live keeps what it restores over: %s", async (_, mode) => {
    const head = await begin("aa", 1, null);
    await commitAndMerge(head, 1, 20);
    nowMs += 5 * hourMs;
    let isAway = false;
    const { store: wrapped } = watched(
      ({ operation, key }) => isAway && operation === "list" && key.startsWith("vault/db/"),
      "UNREACHABLE",
    );
    const { retainer, catalog } = await retainerOf(head, wrapped, () => {}, mode);
    await run(retainer);
    expect(events).toMatchObject([{ type: "retained" }]);
    await commitAndMerge(head, 21, 20);
    nowMs += 5 * hourMs;
    events = [];
    for (const file of (await listTimeline(rootOf(memory), head.timeline)).files) catalog.add(file);
    // The merges have to be known for the grace.
    await run(retainer);
    nowMs += 6 * minuteMs;
    // Another host had restored TXID 35, and stores what it has of its own, a minute later.
    const branch = await begin("bb", 2, { timeline: head.timeline, txid: toTxid(35) });
    await run(retainer);
    expect(events).toEqual([]);
    await store(branch, 0, 36, 36);
    nowMs += minuteMs;
    // The epoch is seen, and not what lies in its timeline.
    isAway = true;
    await expect(run(retainer)).rejects.toMatchObject({ code: "UNREACHABLE" });
    isAway = false;
    await run(retainer);
    expect(events).toMatchObject([{ type: "retained" }]);
    const parents = (await listTimeline(rootOf(memory), head.timeline)).files;
    const line = parents.filter(({ maxTxid }) => maxTxid <= 35n);
    const own = (await listTimeline(rootOf(memory), branch.timeline)).files;
    expect(recoveryPoints([...line, ...own]).at(-1)?.txid).toBe(36n);
  });

  it("what was merged late stays for the grace: it was offered until then", async () => {
    const head = await begin("aa", 1, null);
    for (let txid = 1; txid <= 8; txid += 1) await store(head, 0, txid, txid);
    const contentMs = nowMs;
    const mergeLate = async (level: number, min: number, max: number): Promise<void> => {
      const [minTxid, maxTxid] = [toTxid(min), toTxid(max)];
      const key = `vault/db/${head.timeline}/${formatLtxKey({ level, minTxid, maxTxid }, "s3")}`;
      await memory.put(key, new Uint8Array(100), { timestamp: new Date(contentMs) });
    };
    nowMs += 3 * hourMs;
    await mergeLate(1, 2, 4);
    const { retainer, catalog } = await retainerOf(head);
    await run(retainer);
    expect(catalog.level(0)).toHaveLength(8);
    nowMs += 6 * minuteMs;
    // While we live, too: nothing but the catalogue tells of this one.
    await mergeLate(1, 5, 7);
    for (const file of (await listTimeline(rootOf(memory), head.timeline)).level(1))
      catalog.add(file);
    await run(retainer);
    expect(catalog.level(0).map(({ minTxid }) => minTxid)).toEqual([1n, 5n, 6n, 7n, 8n]);
    nowMs += 6 * minuteMs;
    await run(retainer);
    expect(catalog.level(0).map(({ minTxid }) => minTxid)).toEqual([1n, 8n]);
  });

  it("one run deletes 5,000 files at most, and the next one goes on", async () => {
    const head = await begin("aa", 1, null);
    for (let txid = 1; txid <= 5_100; txid += 1) await store(head, 0, txid, txid);
    await store(head, 1, 2, 5_099);
    nowMs += hourMs;
    const { retainer } = await retainerOf(head);
    await run(retainer);
    expect(events).toMatchObject([{ files: 5_000, remaining: 98 }]);
    await run(retainer);
    expect(events[1]).toMatchObject({ files: 98, remaining: 0 });
    expect((await listTimeline(rootOf(memory), head.timeline)).level(0)).toHaveLength(2);
  });

  it("nothing is deleted while nobody knows where a timeline branched off", async () => {
    const head = await begin("aa", 1, null);
    const lost = await begin("bb", 2, { timeline: head.timeline, txid: toTxid(6) });
    await commitAndMerge(head, 1, 80);
    await store(lost, 0, 7, 7);
    await memory.delete(`vault/${formatEpochKey({ epoch: 2, nonce: undefined }, "record")}`);
    const before = await ltxKeys();
    const { retainer } = await retainerOf(head);
    await run(retainer);
    expect(await ltxKeys()).toEqual(before);
    expect(events).toMatchObject([
      { reason: "unknown-line", message: expect.stringContaining(lost.timeline) },
    ]);
  });

  it("looks for dead lines once, an hour after the start, where our own timeline has nothing to delete", async () => {
    const head = await begin("aa", 1, null);
    await store(head, 0, 1, 1);
    const { calls, store: wrapped } = watched(() => false, "UNREACHABLE");
    const { retainer } = await retainerOf(head, wrapped);
    for (let minute = 0; minute < 72 * 60; minute += 5) {
      nowMs += 5 * minuteMs;
      await run(retainer);
    }
    expect(operations(calls)).toEqual({ list: 2, get: 1, head: 1 });
  });
});

/** The store as it was, deleted objects with the times that they had. */
async function restore(keys: readonly string[]): Promise<void> {
  const there = new Set(await keysOf(memory));
  for (const key of keys.filter((one) => !there.has(one))) {
    const [, min = "", max = ""] = /([0-9a-f]{16})-([0-9a-f]{16})\.ltx$/.exec(key) ?? [];
    expect(min <= max).toBe(true);
    const before = Number.parseInt(max, 16) - 1;
    const slow = Math.min(before, slowCommits);
    const timestamp = new Date(
      Date.UTC(2026, 0, 1) + slow * 5 * minuteMs + (before - slow) * busyStepMs,
    );
    await memory.put(key, new Uint8Array(100), { timestamp });
  }
}

function clockWrongBy(ms: number): ObjectStore {
  return proxy({
    head: async (key: string) => ({ ...(await memory.head(key)), storeTime: new Date(nowMs + ms) }),
  });
}

function proxy(methods: Partial<ObjectStore>): ObjectStore {
  return new Proxy(memory, {
    get: (target, name) => {
      const value: unknown = Reflect.get(methods, name) ?? Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
