import { mkdtempSync, type NoParamCallback, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { Spool } from "./spool.ts";

/** What the spool asked of the disk, in order. */
const { log, faults } = vi.hoisted(() => ({
  log: [] as string[],
  faults: {
    datasync: undefined as Error | undefined,
    directorySync: undefined as Error | undefined,
  },
}));
vi.mock("node:fs", async (importOriginal) => {
  const actual = await importOriginal<typeof import("node:fs")>();
  return {
    ...actual,
    renameSync: (from: string, to: string) => {
      if (to.endsWith(".stored"))
        log.push(`mark ${Number(/^([0-9a-f]{16})-/.exec(basename(to))?.[1])}`);
      actual.renameSync(from, to);
    },
    fsync: (descriptor: number, done: NoParamCallback) => {
      if (!actual.fstatSync(descriptor).isDirectory()) return actual.fsync(descriptor, done);
      if (faults.directorySync !== undefined) return done(faults.directorySync);
      log.push("sync");
      actual.fsync(descriptor, done);
    },
    fdatasync: (descriptor: number, done: NoParamCallback) => {
      if (faults.datasync !== undefined) return done(faults.datasync);
      actual.fdatasync(descriptor, done);
    },
  };
});

const timeline = "0000000000000001-aaaa";
let directory: string;
let spool: Spool;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "spool-"));
  spool = await Spool.open(join(directory, "spool"));
  await spool.saveState({
    version: 1,
    timeline,
    position: undefined,
    storedTxid: undefined,
    restored: false,
    generations: [],
  });
  log.length = 0;
});
afterEach(() => {
  faults.datasync = undefined;
  faults.directorySync = undefined;
  spool.close();
  rmSync(directory, { recursive: true, force: true });
});

async function capture(txid: number, bytes = 10, minTxid = txid): Promise<void> {
  const writer = await spool.create();
  await writer.write(new Uint8Array(bytes));
  await writer.commit(
    {
      minTxid: toTxid(minTxid),
      maxTxid: toTxid(txid),
      pageSize: 4096,
      pageCount: 1,
      rollingChecksum: "8000000000000000",
      walPosition: undefined,
      state: "waiting",
    },
    0,
  );
}

/** As the shipper does it. */
async function ship(): Promise<void> {
  await spool.settled();
  log.push(`try ${Number(spool.waiting[0]?.name.maxTxid)}`);
  await spool.markStored(spool.waiting[0] as (typeof spool.waiting)[0]);
}

describe("Spool", () => {
  it("tries no file before a power cut can no longer take the mark of the one before it: only the first that waits counts as tried", async () => {
    await capture(1);
    await capture(2);
    log.length = 0;
    await ship();
    await ship();
    expect(log).toEqual(["try 1", "mark 1", "sync", "try 2", "mark 2"]);
  });

  it("does not trust the marks of an earlier life either, which may have been killed before any sync", async () => {
    await capture(1);
    await capture(2);
    await ship();
    spool.close();
    spool = await Spool.open(join(directory, "spool"));
    log.length = 0;
    await ship();
    expect(log).toEqual(["sync", "try 2", "mark 2"]);
  });

  it("syncs no more than the captures do while the store keeps up", async () => {
    for (const txid of [1, 2, 3]) {
      await capture(txid);
      await ship();
    }
    expect(log.filter((entry) => entry === "sync")).toHaveLength(3);
  });

  it.each(["datasync", "directorySync"] as const)(
    "leaves nothing of a file whose %s fails, and takes the next one",
    async (fault) => {
      faults[fault] = new Error("no room");
      await expect(capture(1)).rejects.toThrow("no room");
      faults[fault] = undefined;
      expect(spool.files).toEqual([]);
      expect(readdirSync(join(spool.directory, timeline))).toEqual([]);
      spool.close();
      spool = await Spool.open(join(directory, "spool"));
      expect(spool.files).toEqual([]);
      await capture(1);
      expect(spool.waiting).toHaveLength(1);
    },
  );
});

describe("copies of stored files", () => {
  const policy = { filesMax: 3, bytesMax: 1 << 20, fileBytesMax: 1 << 16 };
  const copies = (txids: readonly number[]): number[] =>
    txids.filter((txid) => {
      const copy = spool.localCopy(toTxid(txid), toTxid(txid));
      return copy !== undefined && statSync(copy.path).size === copy.size;
    });
  const all = [1, 2, 3, 4, 5, 6, 7, 8];
  const reopen = async (): Promise<void> => {
    spool.close();
    spool = await Spool.open(join(directory, "spool"));
  };

  it("a few stay beside the newest stored file, which stays the position, and survive a restart", async () => {
    await spool.keepCopies(policy);
    for (const txid of all.slice(0, 6)) await capture(txid);
    for (let count = 0; count < 5; count++) await ship();
    const check = (): void => {
      expect(copies(all)).toEqual([2, 3, 4, 5]);
      expect(spool.files.map(({ name }) => [name.maxTxid, name.state])).toEqual([
        [5n, "stored"],
        [6n, "waiting"],
      ]);
      expect(spool.storedTxid).toBe(5n);
    };
    check();
    await reopen();
    check();
    expect(readdirSync(join(spool.directory, timeline))).toHaveLength(5);
  });

  it("a file that waits is no copy, nor is one of other TXIDs", async () => {
    await spool.keepCopies(policy);
    await capture(1);
    expect(copies([1])).toEqual([]);
    await ship();
    expect(spool.localCopy(toTxid(1), toTxid(2))).toBeUndefined();
  });

  it("those that level 1 covers go, the newest stored file stays", async () => {
    await spool.keepCopies(policy);
    for (const txid of [1, 2, 3, 4]) {
      await capture(txid);
      await ship();
    }
    await spool.dropCopies(toTxid(2));
    expect(copies(all)).toEqual([3, 4]);
    await spool.dropCopies(toTxid(9));
    expect(copies(all)).toEqual([4]);
    expect(readdirSync(join(spool.directory, timeline))).toHaveLength(1);
  });

  it("none is kept unless it is wanted, and those of an earlier life go with the first that is stored", async () => {
    await spool.keepCopies(policy);
    for (const txid of [1, 2, 3]) {
      await capture(txid);
      await ship();
    }
    await reopen();
    await capture(4);
    await ship();
    expect(copies(all)).toEqual([4]);
    expect(readdirSync(join(spool.directory, timeline))).toHaveLength(1);
  });

  it("a large file is not kept", async () => {
    await spool.keepCopies(policy);
    await capture(1);
    await ship();
    await capture(2, policy.fileBytesMax + 1);
    await ship();
    await capture(3);
    await ship();
    expect(copies(all)).toEqual([1, 3]);
  });

  it("nor is the base of a timeline, which is not of level 0 and is merged into nothing", async () => {
    await spool.keepCopies(policy);
    await capture(7, 10, 1);
    await ship();
    await capture(8);
    await ship();
    expect(copies(all)).toEqual([8]);
    expect(spool.localCopy(toTxid(1), toTxid(7))).toBeUndefined();
  });

  it("a timeline that is entered begins without them", async () => {
    await spool.keepCopies(policy);
    for (const txid of [1, 2, 3]) {
      await capture(txid);
      await ship();
    }
    const state = spool.state as NonNullable<typeof spool.state>;
    await spool.moveTo({ ...state, timeline: "0000000000000002-bbbb" });
    expect(copies(all)).toEqual([]);
    expect(
      readdirSync(spool.directory, { recursive: true }).filter((name) =>
        String(name).endsWith("stored"),
      ),
    ).toEqual([]);
  });

  it("go with the position that is forgotten, and what waits stays: a restore to an earlier TXID is no continuation of them", async () => {
    await spool.keepCopies(policy);
    for (const txid of [1, 2, 3]) {
      await capture(txid);
      await ship();
    }
    await capture(4);
    const state = spool.state as NonNullable<typeof spool.state>;
    await spool.forget();
    await reopen();
    await spool.saveState({ ...state, storedTxid: toTxid(2), restored: true });
    expect(spool.files.map(({ name }) => name.maxTxid)).toEqual([4n]);
    expect(spool.storedTxid).toBe(2n);
    expect(copies(all)).toEqual([]);
  });
});
