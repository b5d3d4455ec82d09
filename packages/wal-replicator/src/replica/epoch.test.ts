import {
  CountingStore,
  FaultyStore,
  MemoryStore,
  type ObjectStore,
  RetryingStore,
} from "@vaultwarden-stream/object-store";
import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { EpochLog, readLease, releaseEpoch, takeEpoch } from "./epoch.ts";
import { type EpochRecord, encodeEpochLease, encodeEpochRecord } from "./epoch-record.ts";
import {
  detected,
  detectedOnly,
  exclusive,
  keysOf,
  putText,
  recordFor,
  rootOf,
  TestStore,
} from "./epoch-testing.ts";

function releaseOf(nonce: string) {
  return {
    nonce,
    txid: toTxid(5),
    rollingChecksum: "8000000000000001",
    releasedAt: "2026-11-24T22:00:00Z",
  };
}

async function allOf(store: ObjectStore) {
  const epochs = await (await EpochLog.read(rootOf(store))).all();
  return epochs.map(({ record, released }) => ({ record, released }));
}

describe("epochs of an exclusive store", () => {
  it("are taken one after the other and read back as they were written", async () => {
    const store = new MemoryStore();
    const root = rootOf(store);
    expect(await allOf(store)).toEqual([]);
    const first = await takeEpoch(root, exclusive, recordFor("a"));
    await releaseEpoch(root, first, releaseOf(first.nonce));
    const second = await takeEpoch(root, exclusive, recordFor("b", { kind: "branch" }));
    expect(await allOf(store)).toEqual([
      { record: first, released: releaseOf(first.nonce) },
      { record: second, released: null },
    ]);
    expect(await keysOf(store)).toEqual([
      "vault/epochs/00000001.json",
      "vault/epochs/00000001.lease.json",
      "vault/epochs/00000001.released.json",
      "vault/epochs/00000002.json",
    ]);
  });

  it("are each taken by one of many who try at once", async () => {
    const store = new MemoryStore();
    const takers = ["a", "b", "c", "d", "e"].map((owner) =>
      takeEpoch(rootOf(store), exclusive, recordFor(owner)),
    );
    const taken = await Promise.all(takers);
    expect(new Set(taken.map(({ epoch }) => epoch)).size).toBe(takers.length);
    expect((await allOf(store)).map(({ record }) => record.nonce).sort()).toEqual(
      taken.map(({ nonce }) => nonce).sort(),
    );
  });

  it("are ours although the answer was lost, and the repeated request meets what the first stored", async () => {
    const inner = new MemoryStore();
    const faulty = new FaultyStore(inner, ({ operation, nth }) =>
      operation === "putIfAbsent" && nth === 1
        ? { kind: "error-after", code: "UNREACHABLE" }
        : undefined,
    );
    const store = new RetryingStore(faulty, { budgetMs: 10_000, delayMsMin: 1 });
    expect((await takeEpoch(rootOf(store), exclusive, recordFor("a"))).epoch).toBe(1);
    expect(await allOf(inner)).toHaveLength(1);
  });

  it("are ours by the nonce if something between us and the store repeated the request", async () => {
    const inner = new MemoryStore();
    const store = new FaultyStore(inner, ({ operation, key }) =>
      operation === "putIfAbsent"
        ? { kind: "delay", wait: () => inner.put(key, encodeEpochRecord(recordFor("a")(1))) }
        : undefined,
    );
    expect((await takeEpoch(rootOf(store), exclusive, recordFor("a"))).epoch).toBe(1);
    expect(await allOf(inner)).toHaveLength(1);
  });

  it("are given up if others take every number first", async () => {
    const inner = new MemoryStore();
    const store = new FaultyStore(inner, ({ operation, key }) => {
      if (operation !== "putIfAbsent") return undefined;
      const epoch = Number(/\d{8}/.exec(key)?.[0]);
      return {
        kind: "delay",
        wait: () => inner.put(key, encodeEpochRecord(recordFor("f")(epoch))),
      };
    });
    await expect(takeEpoch(rootOf(store), exclusive, recordFor("a"))).rejects.toMatchObject({
      code: "EPOCH_HELD",
    });
  });

  it("are released once: a second time at the same position is no error, at another it is", async () => {
    const root = rootOf(new MemoryStore());
    const record = await takeEpoch(root, exclusive, recordFor("a"));
    const release = releaseOf(record.nonce);
    await releaseEpoch(root, record, release);
    await releaseEpoch(root, record, { ...release, releasedAt: "2026-11-25T00:00:00Z" });
    await expect(releaseEpoch(root, record, { ...release, txid: toTxid(6) })).rejects.toMatchObject(
      {
        code: "REPLICA_MALFORMED",
        key: "vault/epochs/00000001.released.json",
      },
    );
  });
});

describe("epochs of a store that is not proved to be exclusive", () => {
  it("lie under number and nonce, and under the number for those who look for nothing else", async () => {
    const store = new MemoryStore();
    const root = rootOf(store);
    const first = await takeEpoch(root, detected, recordFor("a"));
    await releaseEpoch(root, first, releaseOf(first.nonce));
    expect(await keysOf(store)).toEqual([
      "vault/epochs/00000001-a0000000.json",
      "vault/epochs/00000001-a0000000.lease.json",
      "vault/epochs/00000001-a0000000.released.json",
      "vault/epochs/00000001.json",
    ]);
    expect(await allOf(store)).toEqual([{ record: first, released: releaseOf(first.nonce) }]);
    expect((await takeEpoch(root, detected, recordFor("b"))).epoch).toBe(2);
  });

  it.each(["ignores", "inverts", "refuses"] as const)(
    "need no conditions: a store that %s them",
    async (conditions) => {
      const store = new TestStore(conditions);
      const root = rootOf(store);
      const first = await takeEpoch(root, detectedOnly, recordFor("a"));
      await releaseEpoch(root, first, releaseOf(first.nonce));
      const second = await takeEpoch(root, detectedOnly, recordFor("b"));
      expect([first.epoch, second.epoch]).toEqual([1, 2]);
      expect((await allOf(store)).map(({ released }) => released !== null)).toEqual([true, false]);
      expect(store.counts.putIfAbsent).toBe(0);
    },
  );

  it("of the same moment: the lower one yields, whoever wrote first", async () => {
    for (const [mine, theirs] of [
      ["a", "b"],
      ["b", "a"],
    ] as const) {
      const inner = new MemoryStore();
      const their = { ...recordFor(theirs)(1), keyedByNonce: true } as const;
      // Theirs lands between our listing and our write.
      const store = new FaultyStore(inner, ({ operation }) =>
        operation === "put"
          ? {
              kind: "delay",
              wait: () =>
                inner.put(`vault/epochs/00000001-${theirs}0000000.json`, encodeEpochRecord(their)),
            }
          : undefined,
      );
      const taking = takeEpoch(rootOf(store), detectedOnly, recordFor(mine));
      if (mine === "b") {
        expect((await taking).epoch).toBe(1);
      } else {
        await expect(taking).rejects.toMatchObject({
          code: "EPOCH_HELD",
          message: expect.stringContaining("process 7 on b"),
        });
      }
      const newest = await (await EpochLog.read(rootOf(inner))).newest();
      expect(newest?.record.owner.host).toBe("b");
    }
  });

  it("do not yield to a branch of the same moment, nor does a branch to anybody", async () => {
    for (const [mine, theirs] of [
      ["writer", "branch"],
      ["branch", "writer"],
    ] as const) {
      const inner = new MemoryStore();
      const their = { ...recordFor("b", { kind: theirs })(1), keyedByNonce: true } as const;
      const store = new FaultyStore(inner, ({ operation }) =>
        operation === "put"
          ? {
              kind: "delay",
              wait: () =>
                inner.put("vault/epochs/00000001-b0000000.json", encodeEpochRecord(their)),
            }
          : undefined,
      );
      const taken = await takeEpoch(rootOf(store), detectedOnly, recordFor("a", { kind: mine }));
      expect(taken.epoch).toBe(1);
    }
  });

  it("leave a number to somebody who believes that it was given to him alone", async () => {
    const inner = new MemoryStore();
    const theirs = recordFor("b")(1);
    const store = new FaultyStore(inner, ({ operation, nth }) =>
      operation === "putIfAbsent" && nth === 1
        ? {
            kind: "delay",
            wait: async () => {
              await inner.putIfAbsent("vault/epochs/00000001.json", encodeEpochRecord(theirs));
            },
          }
        : undefined,
    );
    const record = await takeEpoch(rootOf(store), detected, recordFor("a"));
    expect(record.epoch).toBe(2);
    expect(await keysOf(inner)).toEqual([
      "vault/epochs/00000001.json",
      "vault/epochs/00000002-a0000000.json",
      "vault/epochs/00000002.json",
    ]);
  });

  it("are continued in number by whoever finds the store exclusive later", async () => {
    const store = new MemoryStore();
    await takeEpoch(rootOf(store), detectedOnly, recordFor("a"));
    expect((await takeEpoch(rootOf(store), exclusive, recordFor("b"))).epoch).toBe(2);
  });
});

describe("readLease", () => {
  const clock = { nowMs: Date.parse("2026-11-25T00:00:00Z") };
  const lease = (nonce: string) =>
    encodeEpochLease({
      nonce,
      owner: recordFor("a")(1).owner,
      // Ten minutes wrong, and of no account.
      renewedAt: new Date(clock.nowMs - 600_000).toISOString(),
      txid: null,
    });

  it("is the age of the record until the first renewal, then of the lease, by the store's clock", async () => {
    for (const [mode, key] of [
      [exclusive, "vault/epochs/00000001.lease.json"],
      [detectedOnly, "vault/epochs/00000001-a0000000.lease.json"],
    ] as const) {
      const store = new TestStore("honours", () => clock.nowMs);
      const record = await takeEpoch(rootOf(store), mode, recordFor("a"));
      clock.nowMs += 100_000;
      expect(await readLease(rootOf(store), record)).toEqual({
        ageMs: 100_000,
        owner: record.owner,
      });
      await store.put(key, lease(record.nonce));
      clock.nowMs += 3_000;
      expect(await readLease(rootOf(store), record)).toMatchObject({ ageMs: 3_000 });
    }
  });

  it("is the age of the plain number where its owner died before the second write", async () => {
    const store = new FaultyStore(new TestStore("honours", () => clock.nowMs), ({ operation }) =>
      operation === "put" ? { kind: "error-before", code: "UNREACHABLE" } : undefined,
    );
    await expect(takeEpoch(rootOf(store), detected, recordFor("a"))).rejects.toMatchObject({
      code: "UNREACHABLE",
    });
    const newest = await (await EpochLog.read(rootOf(store))).newest();
    clock.nowMs += 5_000;
    expect(await readLease(rootOf(store), newest?.record as EpochRecord)).toMatchObject({
      ageMs: 5_000,
    });
  });

  it("that cannot be read is neither fresh nor stale", async () => {
    const store = new TestStore();
    const record = await takeEpoch(rootOf(store), exclusive, recordFor("a"));
    await putText(store, "vault/epochs/00000001.lease.json", "{}");
    await expect(readLease(rootOf(store), record)).rejects.toMatchObject({
      code: "REPLICA_MALFORMED",
      key: "vault/epochs/00000001.lease.json",
    });
    const forbidden = new FaultyStore(store, ({ key }) =>
      key.endsWith(".lease.json") ? { kind: "error-before", code: "FORBIDDEN" } : undefined,
    );
    await expect(readLease(rootOf(forbidden), record)).rejects.toMatchObject({
      code: "FORBIDDEN",
    });
  });

  it("has no age where the store does not say what time it is", async () => {
    class Timeless extends CountingStore {
      override async head(key: string) {
        const { storeTime: _, ...info } = await this.inner.head(key);
        return info;
      }
    }
    const root = rootOf(new Timeless(new MemoryStore()));
    const record = await takeEpoch(root, detectedOnly, recordFor("a"));
    await expect(readLease(root, record)).rejects.toMatchObject({ code: "STORE_FAILED" });
  });
});
