import { FaultyStore, MemoryStore, type ObjectStore } from "@vaultwarden-stream/object-store";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { listEpochs, releaseEpoch, takeEpoch } from "./epoch.ts";
import {
  decodeEpochRecord,
  decodeEpochRelease,
  type EpochRecord,
  encodeEpochRecord,
} from "./epoch-record.ts";
import type { ReplicaRoot } from "./replica.ts";
import { ReplicaError } from "./replica-error.ts";
import { formatTimelineName } from "./replica-layout.ts";

function rootOf(store: ObjectStore): ReplicaRoot {
  return { store, prefix: "vault/", timelinesUnder: "db/" };
}

function recordFor(owner: string): (epoch: number) => EpochRecord {
  return (epoch) => {
    const nonce = (owner + String(epoch)).padStart(32, "0");
    return {
      version: 1,
      epoch,
      nonce,
      owner: {
        host: owner,
        pid: 7,
        installation: { hostId: "", spoolInode: "1", spoolBornAt: "2" },
      },
      timeline: formatTimelineName(epoch, nonce),
      parent: epoch === 1 ? null : { timeline: formatTimelineName(1, nonce), txid: toTxid(5) },
      startedAt: "2026-11-24T22:00:00.123Z",
    };
  };
}

const release = {
  txid: toTxid(5),
  rollingChecksum: "8000000000000001",
  releasedAt: "2026-11-24T22:00:00Z",
};

async function putText(store: ObjectStore, key: string, text: string): Promise<void> {
  await store.put(key, new TextEncoder().encode(text));
}

describe("epochs", () => {
  it("are taken one after the other and read back as they were written", async () => {
    const root = rootOf(new MemoryStore());
    expect(await listEpochs(root)).toEqual([]);
    const first = await takeEpoch(root, recordFor("a"));
    await releaseEpoch(root, first, release);
    const second = await takeEpoch(root, recordFor("b"));
    expect(await listEpochs(root)).toEqual([
      { record: first, released: release },
      { record: second, released: null },
    ]);
    expect([first.epoch, second.epoch]).toEqual([1, 2]);
  });

  it("are each taken by one of many who try at once", async () => {
    const root = rootOf(new MemoryStore());
    const takers = ["a", "b", "c", "d", "e"].map((owner) => takeEpoch(root, recordFor(owner)));
    const taken = await Promise.all(takers);
    expect(new Set(taken.map(({ epoch }) => epoch)).size).toBe(takers.length);
    expect((await listEpochs(root)).map(({ record }) => record.nonce).sort()).toEqual(
      taken.map(({ nonce }) => nonce).sort(),
    );
  });

  it("are ours if a repeated request meets what its first attempt stored", async () => {
    const inner = new MemoryStore();
    const store = new FaultyStore(inner, ({ operation, key }) =>
      operation === "putIfAbsent"
        ? { kind: "delay", wait: () => inner.put(key, encodeEpochRecord(recordFor("a")(1))) }
        : undefined,
    );
    expect((await takeEpoch(rootOf(store), recordFor("a"))).epoch).toBe(1);
    expect(await listEpochs(rootOf(inner))).toHaveLength(1);
  });

  it("are given up if others take every number first", async () => {
    const inner = new MemoryStore();
    const store = new FaultyStore(inner, ({ operation, key }) => {
      if (operation !== "putIfAbsent") return undefined;
      const epoch = Number(/\d{8}/.exec(key)?.[0]);
      const steal = () =>
        putText(inner, key, JSON.stringify({ ...recordFor("f")(epoch), parent: null }));
      return { kind: "delay", wait: steal };
    });
    await expect(takeEpoch(rootOf(store), recordFor("a"))).rejects.toMatchObject({
      code: "EPOCH_HELD",
    });
  });

  it("are released once: a second time at the same position is no error, at another it is", async () => {
    const root = rootOf(new MemoryStore());
    const record = await takeEpoch(root, recordFor("a"));
    await releaseEpoch(root, record, release);
    await releaseEpoch(root, record, { ...release, releasedAt: "2026-11-25T00:00:00Z" });
    await expect(releaseEpoch(root, record, { ...release, txid: toTxid(6) })).rejects.toMatchObject(
      {
        code: "REPLICA_MALFORMED",
        key: "vault/epochs/00000001.released.json",
      },
    );
  });

  it("are not confused with leases and other objects below their prefix", async () => {
    const store = new MemoryStore();
    const root = rootOf(store);
    await takeEpoch(root, recordFor("a"));
    await putText(store, "vault/epochs/00000009.lease.json", "{}");
    await putText(store, "vault/epochs/notes.txt", "hello");
    expect(await listEpochs(root)).toHaveLength(1);
    expect((await takeEpoch(root, recordFor("a"))).epoch).toBe(2);
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "[1]"],
    ["null", "null"],
    ["invalid UTF-8", "\uD800"],
    ["another number", JSON.stringify({ ...recordFor("a")(2), parent: null })],
    ["too large", JSON.stringify({ ...recordFor("a")(1), note: "x".repeat(20_000) })],
  ])("are refused by their key if they are malformed: %s", async (_, text) => {
    const store = new MemoryStore();
    await putText(store, "vault/epochs/00000001.json", text);
    await expect(listEpochs(rootOf(store))).rejects.toMatchObject({
      code: "REPLICA_MALFORMED",
      key: "vault/epochs/00000001.json",
    });
  });
});

describe("decodeEpochRecord", () => {
  const valid = { ...recordFor("a")(1), owner: recordFor("a")(1).owner };
  const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

  it.each([
    ["version", 2],
    ["epoch", 2],
    ["nonce", "0".repeat(31)],
    ["nonce", "G".repeat(32)],
    ["timeline", "../../etc"],
    ["timeline", ""],
    ["parent", undefined],
    ["parent", { timeline: "../x", txid: "0000000000000001" }],
    ["parent", { timeline: valid.timeline, txid: "1" }],
    ["parent", { timeline: valid.timeline, txid: 1 }],
    ["owner", null],
    ["owner", { ...valid.owner, pid: -1 }],
    ["owner", { ...valid.owner, pid: 1e300 }],
    ["owner", { ...valid.owner, host: "h".repeat(257) }],
    ["owner", { ...valid.owner, installation: { hostId: "", spoolInode: 1, spoolBornAt: "2" } }],
    ["startedAt", "yesterday"],
    ["startedAt", "2026-99-99T00:00:00Z"],
  ])("refuses %s %j, and names the field", (field, value) => {
    expect(() => decodeEpochRecord(encode({ ...valid, [field]: value }), 1, "k")).toThrow(field);
  });

  it("passes over fields that a later version added", () => {
    const { note: _, ...rest } = { ...valid, note: "x" };
    expect(decodeEpochRecord(encode({ ...valid, note: "x" }), 1, "k")).toEqual(rest);
  });

  it("answers any JSON with a record or a coded error", () => {
    const nearlyValid = fc
      .tuple(fc.constantFrom(...Object.keys(valid)), fc.jsonValue())
      .map(([field, value]) => ({ ...valid, [field]: value }));
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), nearlyValid), (value) => {
        for (const decode of [
          (bytes: Uint8Array) => decodeEpochRecord(bytes, 1, "k"),
          (bytes: Uint8Array) => decodeEpochRelease(bytes, "k"),
        ]) {
          try {
            decode(encode(value));
          } catch (error) {
            expect(error).toBeInstanceOf(ReplicaError);
          }
        }
      }),
    );
  });
});
