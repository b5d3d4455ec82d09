import { FaultyStore, noCounts, type ObjectStore } from "@vaultwarden-stream/object-store";
import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { EpochLog, releaseEpoch, takeEpoch } from "./epoch.ts";
import type { EpochId } from "./epoch-log.ts";
import { type EpochRecord, encodeEpochRecord } from "./epoch-record.ts";
import {
  detected,
  detectedOnly,
  exclusive,
  putText,
  recordFor,
  rootOf,
  TestStore,
} from "./epoch-testing.ts";

function read(store: ObjectStore): Promise<EpochLog> {
  return EpochLog.read(rootOf(store));
}

function release(store: ObjectStore, record: EpochRecord): Promise<void> {
  return releaseEpoch(rootOf(store), record, {
    nonce: record.nonce,
    txid: toTxid(5),
    rollingChecksum: "8000000000000001",
    releasedAt: "2026-11-24T22:00:00Z",
  });
}

async function hostsOf(log: EpochLog): Promise<string[]> {
  return (await log.all()).map(({ record }) => record.owner.host);
}

describe("EpochLog", () => {
  it("reads one epoch of many for the newest: one LIST, one GET, and one for its release", async () => {
    const store = new TestStore();
    for (const owner of ["a", "b", "c", "d"]) {
      await release(store, await takeEpoch(rootOf(store), exclusive, recordFor(owner)));
    }
    Object.assign(store.counts, noCounts());
    const log = await read(store);
    expect(store.counts).toMatchObject({ list: 1, get: 0 });
    expect(await log.newest()).toMatchObject({
      record: { epoch: 4, owner: { host: "d" } },
      released: { txid: 5n },
    });
    expect(await log.newest()).toBeDefined();
    expect(store.counts).toMatchObject({ list: 1, get: 2, head: 0 });
  });

  it("takes no branch for the newest, and has it in the list of all", async () => {
    const store = new TestStore();
    await takeEpoch(rootOf(store), exclusive, recordFor("a"));
    await takeEpoch(rootOf(store), exclusive, recordFor("b", { kind: "branch" }));
    const log = await read(store);
    expect((await log.newest())?.record.owner.host).toBe("a");
    expect(await hostsOf(log)).toEqual(["a", "b"]);
    expect(log.highestNumber).toBe(2);
  });

  it("orders epochs of one number by nonce, and has an epoch under both forms of keys once", async () => {
    const store = new TestStore();
    for (const owner of ["c", "a", "b"]) {
      const record = { ...recordFor(owner)(1), keyedByNonce: true } as const;
      await store.put(`vault/epochs/00000001-${owner}0000000.json`, encodeEpochRecord(record));
    }
    const plain = { ...recordFor("b")(1), keyedByNonce: true } as const;
    await store.put("vault/epochs/00000001.json", encodeEpochRecord(plain));
    const log = await read(store);
    expect(log.ids).toHaveLength(4);
    expect(await hostsOf(log)).toEqual(["a", "b", "c"]);
    expect((await log.newest())?.record.owner.host).toBe("c");
  });

  it("keeps a stranger's epoch apart that has the number alone", async () => {
    const store = new TestStore();
    const keyed = { ...recordFor("a")(1), keyedByNonce: true } as const;
    await store.put("vault/epochs/00000001-a0000000.json", encodeEpochRecord(keyed));
    await store.put("vault/epochs/00000001.json", encodeEpochRecord(recordFor("b")(1)));
    expect(await hostsOf(await read(store))).toEqual(["a", "b"]);
  });

  it("finds the release of an epoch that has both forms of keys", async () => {
    const store = new TestStore();
    await release(store, await takeEpoch(rootOf(store), detected, recordFor("a")));
    expect((await (await read(store)).newest())?.released).toMatchObject({ txid: 5n });
  });

  it("takes no release of another nonce for the epoch's, and one without a nonce for it", async () => {
    const store = new TestStore();
    const record = await takeEpoch(rootOf(store), exclusive, recordFor("a"));
    await release(store, { ...record, nonce: "f".repeat(32) });
    expect((await (await read(store)).newest())?.released).toBeNull();
    const earlier = { version: 1, txid: "0000000000000005", rollingChecksum: "8000000000000001" };
    await putText(
      store,
      "vault/epochs/00000001.released.json",
      JSON.stringify({ ...earlier, releasedAt: "2026-11-24T22:00:00Z" }),
    );
    expect((await (await read(store)).newest())?.released).toMatchObject({ nonce: null });
  });

  it("says from the listing when the owner last showed that it lives", async () => {
    const clock = { nowMs: 1_000_000 };
    const store = new TestStore("honours", () => clock.nowMs);
    await takeEpoch(rootOf(store), exclusive, recordFor("a"));
    clock.nowMs = 2_000_000;
    await putText(store, "vault/epochs/00000001.lease.json", "{}");
    await putText(store, "vault/epochs/00000009.lease.json", "{}");
    await putText(store, "vault/epochs/notes.txt", "hello");
    expect((await read(store)).ids).toEqual([
      {
        epoch: 1,
        nonce: undefined,
        isReleased: false,
        recordModified: new Date(1_000_000),
        leaseModified: new Date(2_000_000),
      },
    ]);
  });

  it("finds the founder of a timeline by its name, in either form, and takes no other epoch for it", async () => {
    const store = new TestStore();
    const founder = await takeEpoch(rootOf(store), exclusive, recordFor("a"));
    const keyed = await takeEpoch(rootOf(store), detectedOnly, recordFor("b"));
    await takeEpoch(rootOf(store), exclusive, (epoch) => ({
      ...recordFor("a")(epoch),
      timeline: founder.timeline,
    }));
    Object.assign(store.counts, noCounts());
    const log = await read(store);
    expect(await log.foundingRecord(founder.timeline)).toEqual(founder);
    expect(store.counts).toMatchObject({ list: 1, get: 1 });
    expect(await log.foundingRecord(keyed.timeline)).toEqual(keyed);
    expect(await log.foundingRecord("00000003-a0000000")).toBeUndefined();
    expect(await log.foundingRecord("00000001-b0000000")).toBeUndefined();
    expect(await log.foundingRecord("00000009-a0000000")).toBeUndefined();
    expect(await log.foundingRecord("")).toBeUndefined();
  });

  it("reads a failed epoch again when it is asked again", async () => {
    const inner = new TestStore();
    await takeEpoch(rootOf(inner), exclusive, recordFor("a"));
    const store = new FaultyStore(inner, ({ operation, nth }) =>
      operation === "get" && nth === 1 ? { kind: "error-before", code: "UNREACHABLE" } : undefined,
    );
    const log = await read(store);
    await expect(log.newest()).rejects.toMatchObject({ code: "UNREACHABLE" });
    expect((await log.newest())?.record.epoch).toBe(1);
  });

  it("listed again, reads only what is new or was written again", async () => {
    const clock = { nowMs: 1_000_000 };
    const store = new TestStore("ignores", () => clock.nowMs);
    await takeEpoch(rootOf(store), exclusive, recordFor("a"));
    const log = await read(store);
    await log.all();
    await takeEpoch(rootOf(store), exclusive, recordFor("b"));
    Object.assign(store.counts, noCounts());
    expect(await hostsOf(await log.readAgain())).toEqual(["a", "b"]);
    expect(store.counts).toMatchObject({ list: 1, get: 1 });
    clock.nowMs += 1_000;
    await store.put("vault/epochs/00000001.json", encodeEpochRecord(recordFor("c")(1)));
    expect(await hostsOf(await log.readAgain())).toEqual(["c", "b"]);
  });

  it("finds the highest writer above an epoch, by number, then by nonce", async () => {
    const store = new TestStore();
    const own = await takeEpoch(rootOf(store), detectedOnly, recordFor("b"));
    const put = async (owner: string, epoch: number, kind: "writer" | "branch" = "writer") => {
      const record = { ...recordFor(owner, { kind })(epoch), keyedByNonce: true } as const;
      const key = `vault/epochs/0000000${epoch}-${owner}0000000.json`;
      await store.put(key, encodeEpochRecord(record));
    };
    const above = async () => (await (await read(store)).writerAbove(own))?.owner.host;
    expect(await above()).toBeUndefined();
    await put("a", 1);
    expect(await above()).toBeUndefined();
    await put("f", 3, "branch");
    expect(await above()).toBeUndefined();
    await put("c", 1);
    expect(await above()).toBe("c");
    await put("0", 2);
    expect(await above()).toBe("0");
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "[1]"],
    ["null", "null"],
    ["invalid UTF-8", "\uD800"],
    ["another number", JSON.stringify(recordFor("a")(2), bigintless)],
    ["too large", JSON.stringify({ ...recordFor("a")(1), note: "x".repeat(20_000) })],
  ])(
    "an epoch that cannot be read is refused by its key, and is not absent: %s",
    async (_, text) => {
      const store = new TestStore();
      await putText(store, "vault/epochs/00000001.json", text);
      const log = await read(store);
      const refused = { code: "REPLICA_MALFORMED", key: "vault/epochs/00000001.json" };
      await expect(log.newest()).rejects.toMatchObject(refused);
      await expect(log.all()).rejects.toMatchObject(refused);
      await expect(log.get(log.ids[0] as EpochId)).rejects.toMatchObject(refused);
    },
  );
});

function bigintless(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
